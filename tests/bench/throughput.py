"""Jobs per second and processor time per job, while a backlog is worked off.

The whole backlog is in place before the workers start, so enqueuing costs none of them anything. The clock starts when
a tenth of the jobs is done, which leaves out starting, importing and connecting, and stops when the last one is done,
by the ledger's or the sandbox's own record of the time. Processor time is read when the clock starts and after it
stops, when the workers are idle. Looks are few, because each costs the server that all contestants depend on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from local_stack import LocalStack
from processes import Child, Failed, StopSignals

from tests.bench.contestants import Contestant, fill
from tests.bench.cpu import cpu_seconds
from tests.bench.sandbox import Sandbox

#: The share of the backlog that is done before the clock starts.
WARM = 0.1
#: Seconds between two looks.
LOOK = 0.1
#: Seconds without any progress after which something is wrong.
PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run. CPU in milliseconds per job; PostgreSQL's is not part of the worker's."""

    jobs_per_second: float
    cpu_ms: float
    postgres_cpu_ms: float


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    done: int
    cpu: float
    postgres: float


def measure(stack: LocalStack, signals: StopSignals, contestant: Contestant, cases: Path, jobs: int) -> Throughput:
    """One run of one contestant. Raises Failed when a job was lost or done twice, Stopped."""
    sandbox = Sandbox(stack.sandbox_url)
    _empty(stack, sandbox)
    fill(stack, contestant, cases)
    token = {"BENCH_URL": stack.sandbox_url, "BENCH_TOKEN": sandbox.token("tenant-0")}
    worker = stack.start(contestant.name, contestant.command, **token)
    try:
        first = _when_done(stack, signals, contestant, sandbox, worker, int(jobs * WARM))
        last = _when_done(stack, signals, contestant, sandbox, worker, jobs)
        seconds = contestant.done_at(stack, sandbox) - first.at
    finally:
        stack.end(worker)
    if (posts := sandbox.posts()) != {"200": jobs}:
        raise Failed(f"{contestant.name}: the sandbox answered {posts}, not {jobs} times 200", worker.log)
    done = last.done - first.done
    return Throughput(
        jobs_per_second=done / seconds,
        cpu_ms=(last.cpu - first.cpu) / done * 1000,
        postgres_cpu_ms=(last.postgres - first.postgres) / done * 1000,
    )


def _empty(stack: LocalStack, sandbox: Sandbox) -> None:
    """Begin with nothing: no jobs, no messages, no tokens."""
    sandbox.reset()
    client = stack.valkey.client()
    client.flushall()
    client.close()
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        connection.execute("TRUNCATE jobs, holds CASCADE")


def _when_done(
    stack: LocalStack, signals: StopSignals, contestant: Contestant, sandbox: Sandbox, worker: Child, wanted: int
) -> _Moment:
    """Wait until that many jobs are done; the moment at which they were."""
    assert stack.postgres.process is not None
    seen, give_up_at = -1, 0.0
    while True:
        done, now = contestant.done(stack, sandbox), time.monotonic()
        if done >= wanted:
            return _Moment(time.time(), done, cpu_seconds(worker.process.pid), cpu_seconds(stack.postgres.process.pid))
        if done != seen:
            seen, give_up_at = done, now + PATIENCE
        if now > give_up_at:
            raise Failed(f"{contestant.name}: nothing more is done after {done} jobs", worker.log)
        worker.require_alive()
        signals.rest(LOOK)
