"""A test-only application: the worker's own, with a place to stop at around each step of a job's way.

Started with `celery -A tests.support.faults.stop_points worker`. The worker's code knows nothing of it: the functions
are wrapped from outside. `tests.support.faults.stops` arms the points through files while the worker runs.
"""

from __future__ import annotations

import builtins
import functools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SKEW = float(os.environ.get("FAULTS_CLOCK_SKEW", "0"))
if SKEW:
    # Before anything takes a copy of it: this worker's wall clock is wrong, its stopwatch right.
    _true_time = time.time
    time.time = lambda: _true_time() + SKEW

from tests.support.faults import stops  # noqa: E402
from worker.celery import app  # noqa: E402
from worker.debitura import http  # noqa: E402
from worker.dispatch import dispatcher  # noqa: E402
from worker.ledger.writer import release  # noqa: E402
from worker.policy import brake  # noqa: E402
from worker.queue import redis_transport, tasks  # noqa: E402
from worker.queue.app import CeleryPublisher  # noqa: E402
from worker.submission import batch, decide, mint, recorder, send  # noqa: E402

__all__ = ["app"]

FOLDER = Path(os.environ["FAULTS_STOPS"])
_passed: Counter[str] = Counter()
_guard = threading.Lock()

# Waits that a test shortens, because it cannot wait for production's.
decide.API_KEY_HOLD = float(os.environ.get("FAULTS_API_KEY_HOLD", decide.API_KEY_HOLD))
brake.PROBE_EVERY = float(os.environ.get("FAULTS_BRAKE_PROBE_EVERY", brake.PROBE_EVERY))
if "FAULTS_VISIBILITY" in os.environ and "visibility_timeout" in app.conf.broker_transport_options:
    app.conf.broker_transport_options = app.conf.broker_transport_options | {
        "visibility_timeout": float(os.environ["FAULTS_VISIBILITY"])
    }


def come_past(point: str) -> None:
    """Execute the stop armed for this point, if it is this process's turn."""
    if not (FOLDER / point).exists():
        return
    with _guard:
        _passed[point] += 1
        stop = stops.take(FOLDER, point, _passed[point])
        if stop is None:
            return
        _passed[point] = 0
    stops.tell(FOLDER, point, os.getpid())
    match stop.action:
        case "kill_child":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_worker":
            os.killpg(os.getpgrp(), signal.SIGKILL)
        case "freeze_child":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "freeze_worker":
            os.killpg(os.getpgrp(), signal.SIGSTOP)
        case "hang":
            time.sleep(3600)
        case "raise":
            raise getattr(builtins, stop.error)("a bug on purpose")


def around(
    owner: Any,
    name: str,
    before: str | None = None,
    after: str | None = None,
    *,
    when: Callable[..., bool] = lambda *_: True,
) -> None:
    """Put a point before and after a function, for calls whose arguments satisfy `when`."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **options: Any) -> Any:
        concerned = when(*args)
        if before and concerned:
            come_past(before)
        result = original(*args, **options)
        if after and concerned:
            come_past(after)
        return result

    setattr(owner, name, wrapped)


def after_some(owner: Any, name: str, point: str) -> None:
    """Put a point after a function, for calls with a true result."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        if result:
            come_past(point)
        return result

    setattr(owner, name, wrapped)


def _is_an_accept(_channel: Any, entry: bytes) -> bool:
    return b"cases.accept" in entry


def _answers_a_case(response: Any, _give_up_at: float) -> bool:
    return bool(response.request.url.endswith("/cases"))


around(batch, "claim", "before_claim")
after_some(batch, "claim", "claim_uncommitted")
around(batch._Batch, "submit", "claimed", when=lambda _self, jobs: bool(jobs))
around(mint, "mint_token", "before_mint", "minted")
around(send, "post_case", "before_request", "answered")
around(http, "_read", "answer_begun", when=_answers_a_case)
around(send, "open_second_attempt", "first_refused", "second_attempt_uncommitted")
around(batch._Batch, "_record", "before_record", "recorded")
around(recorder, "apply_transitions", after="record_uncommitted")
after_some(release, "release", "release_uncommitted")
around(dispatcher.Dispatcher, "_publish", "before_publish", "published", when=lambda _self, jobs: bool(jobs))
around(CeleryPublisher, "publish", after="one_published")
around(tasks, "accept_message", "accept_begun", "accept_committed")
around(tasks, "insert", after="accept_uncommitted")
around(redis_transport.Channel, "_envelope", before=stops.TAKEN_POINT, when=_is_an_accept)
