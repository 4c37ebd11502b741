"""A capped tenant's old rounds don't lower the served round that newcomers join."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.support.pipeline import Pipeline
from tests.support.publisher import Recorder
from tests.support.rows import change_job, change_jobs, from_now
from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.database import transaction
from worker.ledger.writer import release
from worker.ledger.writer.release_past_capped import TenantScan, release_past_capped

CAP = 2


@pytest.fixture
def fleet(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """A fleet with a slow tenant at its cap, and two fast ones."""
    fleet = new_pipeline(
        WORKER_TENANT_CONCURRENCY=str(CAP),
        WORKER_RATE_LIMITS="100000/minute",
        WORKER_BATCH="1",
        WORKER_MAX_ATTEMPTS="5",
    )
    for _ in range(20):
        for tenant in ("slow", "quick-1", "quick-2"):
            fleet.enqueue(tenant)
    return fleet


def serve(fleet: Pipeline, *, ticks: int) -> list[UUID]:
    """Run the dispatcher; released jobs finish at once, except the slow tenant's."""
    published = Recorder()
    dispatcher = Dispatcher(fleet.settings, published, name="one")
    for _ in range(ticks):
        dispatcher.tick()
        fleet.ledger.rows(
            "UPDATE jobs SET state = 'discarded', finalized_at = now(), queued_at = NULL"
            " WHERE state = 'queued' AND external_tenant_id <> 'slow'"
        )
    return published.ids


def rounds(fleet: Pipeline, jobs: list[UUID]) -> list[int]:
    return [fleet.job(job)["round"] for job in jobs]


def lowest_pending(fleet: Pipeline, tenant: str) -> object:
    return fleet.ledger.value("SELECT min(round) FROM jobs WHERE state = 'pending' AND external_tenant_id = %s", tenant)


def the_quick_are_far_ahead(fleet: Pipeline) -> None:
    """Let the slow tenant fill the head of the order, so that the others are found by the tenant scan."""
    for _ in range(300):
        fleet.enqueue("slow")
    fleet.ledger.rows("UPDATE jobs SET round = round + 5000 WHERE state = 'pending' AND external_tenant_id <> 'slow'")


def test_a_newcomer_joins_the_round_in_which_the_others_are(fleet: Pipeline) -> None:
    serve(fleet, ticks=6)
    assert lowest_pending(fleet, "slow") == CAP

    newcomer = [fleet.enqueue("newcomer") for _ in range(3)]

    served = lowest_pending(fleet, "quick-1")
    assert isinstance(served, int)
    assert served > 2 * CAP
    assert rounds(fleet, newcomer) == [served - 1, served, served + 1]


def test_a_newcomer_joins_the_round_of_jobs_found_past_a_capped_tenant(fleet: Pipeline) -> None:
    serve(fleet, ticks=1)
    the_quick_are_far_ahead(fleet)
    serve(fleet, ticks=3)

    newcomer = fleet.enqueue("newcomer")

    (joined,) = rounds(fleet, [newcomer])
    assert 5000 <= joined <= int(str(lowest_pending(fleet, "quick-1")))


def test_a_tenant_scan_in_several_steps_finds_the_lowest_round(
    fleet: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tenants in rounds 300, 100 and 200 and two tenants per step, the served round is 100."""
    monkeypatch.setattr("worker.ledger.writer.release_past_capped.WALK", 2)
    fleet.ledger.rows("DELETE FROM jobs")
    for tenant, at in (("a", 300), ("b", 100), ("c", 200)):
        job = fleet.enqueue(tenant)
        change_job(fleet.ledger, job, round=at)
    with transaction(fleet.engine) as connection:
        first, walk = release_past_capped(connection, room=2, tenant_cap=CAP, walk=TenantScan())
    early = fleet.ledger.value("SELECT round FROM served_rounds WHERE priority = 1")
    with transaction(fleet.engine) as connection:
        second, walk = release_past_capped(connection, room=2, tenant_cap=CAP, walk=walk)

    assert (len(first), len(second), walk) == (2, 1, TenantScan())
    assert (early, fleet.ledger.value("SELECT round FROM served_rounds WHERE priority = 1")) == (0, 100)


def test_the_turn_of_a_capped_tenant_does_not_lower_the_served_round(fleet: Pipeline) -> None:
    serve(fleet, ticks=6)
    before = fleet.ledger.value("SELECT round FROM served_rounds WHERE priority = 1")
    change_jobs(fleet.ledger, "queued", state="discarded")
    with transaction(fleet.engine) as connection:
        (released,) = release.release(connection, room=1, tenant_cap=CAP)

    assert fleet.job(released.id)["external_tenant_id"] == "slow"
    assert fleet.ledger.value("SELECT round FROM served_rounds WHERE priority = 1") == before


def test_a_woken_or_replayed_job_joins_the_served_round(fleet: Pipeline) -> None:
    fleet.ledger.rows("DELETE FROM jobs")
    woken = fleet.submit("woken", tag="sandbox:status=500")
    dead = fleet.submit("dead", tag="sandbox:status=403")
    # Its backoff is drawn at random: it must not be over before the others are served.
    change_job(fleet.ledger, woken, due_at=from_now("1 hour"))
    for _ in range(10):
        fleet.enqueue("slow")
        fleet.enqueue("quick-1")
    serve(fleet, ticks=3)

    fleet.wake()
    fleet.replay(dead)

    assert lowest_pending(fleet, "slow") == CAP
    served = fleet.ledger.value("SELECT round FROM served_rounds WHERE priority = 1")
    assert rounds(fleet, [woken, dead]) == [served, served]
    assert served == 3 * CAP - 1


def test_each_priority_has_a_served_round_of_its_own(fleet: Pipeline) -> None:
    serve(fleet, ticks=3)

    assert rounds(fleet, [fleet.enqueue("newcomer", priority="low")]) == [0]
