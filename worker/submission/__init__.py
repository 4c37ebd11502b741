"""One claimed job: token, POST, decide, record."""
