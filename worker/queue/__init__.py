"""Celery and the brokers: no message is lost."""
