"""Intake: a case becomes one job."""
