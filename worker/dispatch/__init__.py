"""Decide which job goes out when."""
