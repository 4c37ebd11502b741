"""Outages of the two APIs, and the dispatcher's turn while they last."""

from __future__ import annotations

from uuid import UUID

from tests.support.pipeline import Pipeline
from tests.support.publisher import Recorder
from worker.dispatch.dispatcher import Dispatcher
from worker.policy.circuit_breaker import FAILED_JOBS_AT_LEAST


def jobs_of(pipeline: Pipeline, count: int = FAILED_JOBS_AT_LEAST + 2) -> list[UUID]:
    return [pipeline.enqueue(f"tenant-{n}") for n in range(count)]


def states(pipeline: Pipeline, jobs: list[UUID]) -> set[str]:
    return {pipeline.job(job)["state"] for job in jobs}


def dispatch(pipeline: Pipeline) -> list[UUID]:
    published = Recorder()
    Dispatcher(pipeline.settings, published, name="one").tick()
    return published.ids


def the_time_of_all_holds_is_over(pipeline: Pipeline) -> None:
    pipeline.ledger.rows("UPDATE holds SET until = now() - interval '1 second'")
    pipeline.ledger.rows("UPDATE jobs SET due_at = now() WHERE state = 'waiting'")


OUTAGES = {
    "customer_api": {"endpoint": "cases", "kind": "status", "status": 503},
    "referral_api": {"endpoint": "token", "kind": "status", "status": 500},
}
