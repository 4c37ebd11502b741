"""A bare dramatiq actor that only POSTs.

`python -m tests.bench.bare_dramatiq FILE` puts the cases of that file on the queue.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.bare_request import post

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_BROKER"]))


@dramatiq.actor(actor_name="bare_submit", max_retries=0)
def submit(case: dict[str, Any]) -> None:
    """POST one case."""
    post(case)


if __name__ == "__main__":
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        submit.send(json.loads(line)["case"])
