"""`python -m tests.bench`: this worker beside a bare Celery task and a bare dramatiq actor, on the same machine, with
the same HTTP server, brokers and cases."""

from __future__ import annotations

import sys
from pathlib import Path

# The local servers are among the examples, which are scripts beside each other and no package.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
