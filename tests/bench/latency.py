"""How long a job takes, in an idle system, from `enqueue_case` to the moment at which its request reaches the API.

The clock starts before the call, so the INSERT and its commit are in it, and stops when the sandbox, on the same
machine and thus by the same clock, has read the request. The pauses between jobs are random, so that they do not fall
in step with the dispatcher.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from statistics import median, quantiles

from local_stack import LocalStack
from processes import Failed, StopSignals
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from tests.bench.cases import TENANTS, make_case
from tests.bench.sandbox import Sandbox
from worker import enqueue_case


@dataclass(frozen=True, slots=True)
class Latency:
    """In milliseconds."""

    median_ms: float
    p95_ms: float
    max_ms: float
    jobs: int


def measure(stack: LocalStack, signals: StopSignals, *, jobs: int, seed: int = 7) -> Latency:
    """Send single jobs to a worker that has nothing else to do. Raises Failed, Stopped."""
    sandbox = Sandbox(stack.sandbox_url)
    sandbox.reset()
    worker = stack.start_worker()
    pauses = random.Random(seed)
    engine = create_engine(stack.environment["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
    sent: list[float] = []
    try:
        # The first jobs, one a tenant, make connections and tokens; they are not counted.
        for number in range(TENANTS + jobs):
            signals.rest(pauses.uniform(0.1, 0.3))
            sent.append(time.time())
            with Session(engine) as session, session.begin():
                enqueue_case(
                    external_tenant_id=f"tenant-{number % TENANTS}",
                    case=make_case(10_000_000 + number),
                    session=session,
                )
            give_up_at = time.monotonic() + 30
            while sandbox.answered() <= number:
                worker.require_alive()
                if time.monotonic() > give_up_at:
                    raise Failed(f"job {number} did not reach the sandbox within 30 s", worker.log)
                signals.rest(0.01)
    finally:
        engine.dispose()
        stack.end(worker)
    taken = [1000 * (came - went) for went, came in zip(sent, sandbox.arrivals(), strict=True)][TENANTS:]
    return Latency(median(taken), quantiles(taken, n=20)[-1], max(taken), len(taken))
