"""Which job goes out when."""
