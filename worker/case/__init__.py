"""A case: its exact JSON, the fields that the report reads, and its encryption."""
