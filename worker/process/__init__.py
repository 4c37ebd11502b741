"""A worker's start, shutdown, liveness and monitoring."""
