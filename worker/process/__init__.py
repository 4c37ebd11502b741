"""How a worker starts, stops and shows that it lives."""
