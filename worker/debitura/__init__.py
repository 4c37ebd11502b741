"""The two Debitura APIs as this project sees them: HTTP clients, token cache, judging replies. No SQL, no Celery."""
