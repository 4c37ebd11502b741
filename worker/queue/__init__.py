"""Celery carries ids; the dispatcher decides, in the ledger, what goes out and when."""
