"""Outages of the two APIs, and what the dispatcher does meanwhile."""

from __future__ import annotations

from uuid import UUID

from tests.support.pipeline import Pipeline
from tests.support.publisher import Recorder
from tests.support.rows import NOW, change_jobs, let_holds_lapse
from worker.dispatch.dispatcher import Dispatcher
from worker.policy.circuit_breaker import FAILED_JOBS_AT_LEAST

#: The sandbox's fault for an outage, by the circuit that it opens.
OUTAGES = {
    "customer_api": {"endpoint": "cases", "kind": "status", "status": 503},
    "referral_api": {"endpoint": "token", "kind": "status", "status": 500},
}


def jobs_of(pipeline: Pipeline, count: int = FAILED_JOBS_AT_LEAST + 2) -> list[UUID]:
    """Jobs of as many tenants, by default enough to open a circuit."""
    return [pipeline.enqueue(f"tenant-{n}") for n in range(count)]


def states(pipeline: Pipeline, jobs: list[UUID]) -> set[str]:
    return {pipeline.job(job)["state"] for job in jobs}


def dispatch(pipeline: Pipeline) -> list[UUID]:
    """One tick of the dispatcher. Returns the jobs that it published."""
    published = Recorder()
    Dispatcher(pipeline.settings, published, name="one").tick()
    return published.ids


def let_holds_and_backoffs_lapse(pipeline: Pipeline) -> None:
    """Let time pass: all holds are over, and all waiting jobs are due."""
    let_holds_lapse(pipeline.ledger)
    change_jobs(pipeline.ledger, "waiting", due_at=NOW)
