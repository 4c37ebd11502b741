"""The SQL ledger: the truth about every job. Nothing here knows Celery or HTTP."""
