"""How many workers are useful."""
