"""The two APIs: clients, token cache and evaluation of responses; no SQL and no Celery."""
