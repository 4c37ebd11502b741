"""A bare Celery task that only POSTs.

`python -m tests.bench.bare_celery FILE` puts the cases of that file on the queue.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery

from tests.bench.bare_request import post

app = Celery("bare", broker=os.environ["BENCH_BROKER"])
app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


@app.task(name="bare.submit")
def submit(case: dict[str, Any]) -> None:
    """POST one case."""
    post(case)


if __name__ == "__main__":
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
            app.send_task("bare.submit", args=[json.loads(line)["case"]], producer=producer)
