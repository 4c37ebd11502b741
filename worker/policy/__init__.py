"""Every limit and formula, as pure functions: retries, rate limits, the circuit breaker."""
