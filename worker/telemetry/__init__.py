"""Logs, traces and metrics without personal data."""
