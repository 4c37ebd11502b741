"""A case becomes one job."""
