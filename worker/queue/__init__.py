"""Celery and the brokers, without losing messages."""
