"""The SQL ledger: the truth about every job. No module here knows Celery or HTTP."""
