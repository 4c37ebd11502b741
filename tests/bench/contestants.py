"""Who is measured: how each gets its backlog, what is started, and how much it has done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from local_stack import LocalStack
from processes import program

from tests.bench.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way of submitting cases."""

    key: str
    name: str
    pool: str
    fill: list[str]
    """The command that puts the cases of a file (its last argument) where the workers find them."""
    command: list[str]
    done: Callable[[LocalStack, Sandbox], int]
    """How many jobs are wholly done."""
    done_at: Callable[[LocalStack, Sandbox], float]
    """When the last job was done, in seconds since the epoch."""


def recorded(stack: LocalStack, _sandbox: Sandbox) -> int:
    """This worker is done with a job when its ledger says so, which is later than the answer."""
    return int(_asked(stack, "SELECT count(*) FROM jobs WHERE state = 'submitted'"))


def recorded_at(stack: LocalStack, _sandbox: Sandbox) -> float:
    """The ledger's own time of the last job's end."""
    return _asked(stack, "SELECT EXTRACT(epoch FROM max(finalized_at)) FROM jobs")


def answered(_stack: LocalStack, sandbox: Sandbox) -> int:
    """A bare task is done when it has its answer."""
    return sandbox.answered()


def answered_at(_stack: LocalStack, sandbox: Sandbox) -> float:
    """The sandbox answers at once, so the last request's arrival will do."""
    return max(sandbox.arrivals())


def _asked(stack: LocalStack, question: str) -> float:
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return float(row[0])


def celery(app: str, *options: str) -> list[str]:
    """The command line of a Celery worker; what the bare ones need not say, they do not say."""
    return [program("celery"), "-A", app, "worker", "--without-gossip", "--without-mingle", *options]


BARE = "tests.bench.bare_celery"
CONTESTANTS = (
    Contestant(
        "case_worker", "this worker, with its ledger", "prefork -c 2",
        [program("case-worker"), "enqueue"],
        # As the Procfile starts it, logs included.
        celery("worker", "--pool", "prefork", "-c", "2", "--loglevel", "INFO"),
        recorded, recorded_at,
    ),
    Contestant(
        "celery_prefork", "bare Celery task", "prefork -c 2",
        [sys.executable, "-m", BARE],
        celery(BARE, "--pool", "prefork", "-c", "2", "--loglevel", "WARNING"),
        answered, answered_at,
    ),
    Contestant(
        "celery_threads", "bare Celery task", "threads -c 16",
        [sys.executable, "-m", BARE],
        celery(BARE, "--pool", "threads", "-c", "16", "--loglevel", "WARNING"),
        answered, answered_at,
    ),
    Contestant(
        "dramatiq", "bare dramatiq actor", "2 processes x 8 threads",
        [sys.executable, "-m", "tests.bench.bare_dramatiq"],
        [program("dramatiq"), "tests.bench.bare_dramatiq", "--processes", "2", "--threads", "8"],
        answered, answered_at,
    ),
)  # fmt: skip


def fill(stack: LocalStack, contestant: Contestant, cases: Path) -> None:
    """Put the whole backlog in place."""
    stack.run(f"filling for {contestant.key}", [*contestant.fill, str(cases)], within=300)
