"""The two APIs: clients, token cache, judging replies; no SQL and no Celery."""
