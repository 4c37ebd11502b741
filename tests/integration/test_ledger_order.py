"""The order of release: priority, then round, then age, so that large and small tenants take turns."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from tests.support.pipeline import Pipeline
from tests.support.rows import NOW, ago, change_job, from_now
from worker.intake.enqueue import admit, insert
from worker.ledger.database import transaction
from worker.ledger.writer import release
from worker.policy.retry import RetryPolicy


def next_up(pipeline: Pipeline, room: int) -> list[UUID]:
    with transaction(pipeline.engine) as connection:
        return [job.id for job in release.release(connection, room=room)]


def test_priority_comes_before_everything(pipeline: Pipeline) -> None:
    low, normal, high = (pipeline.enqueue(priority=p) for p in ("low", "normal", "high"))
    assert next_up(pipeline, 10) == [high, normal, low]


def test_within_a_round_the_older_goes_first(pipeline: Pipeline) -> None:
    jobs = [pipeline.enqueue(f"tenant-{n}") for n in range(5)]
    assert next_up(pipeline, 3) == jobs[:3]
    assert next_up(pipeline, 3) == jobs[3:]


def test_a_tenant_with_one_case_goes_next_though_another_has_five_hundred_waiting(pipeline: Pipeline) -> None:
    big = [pipeline.enqueue("big") for _ in range(500)]
    small = pipeline.enqueue("small")

    assert next_up(pipeline, 2) == [big[0], small]


def test_tenants_take_turns_to_the_end(pipeline: Pipeline) -> None:
    for tenant, number in (("a", 12), ("b", 3), ("c", 6)):
        for _ in range(number):
            pipeline.enqueue(tenant)
    tenants = [pipeline.job(job)["external_tenant_id"] for job in next_up(pipeline, 100)]

    assert tenants == ["a", "b", "c"] * 3 + ["a", "c"] * 3 + ["a"] * 6


def test_who_arrives_while_round_7_is_served_joins_round_7(pipeline: Pipeline) -> None:
    for _ in range(10):
        pipeline.enqueue("big")
    next_up(pipeline, 7)
    small = pipeline.enqueue("small")

    assert pipeline.job(small)["round"] == 7
    assert small in next_up(pipeline, 2)


def test_a_quiet_tenant_saves_up_no_credit(pipeline: Pipeline) -> None:
    """A tenant that was idle doesn't get the rounds that it missed."""
    for _ in range(10):
        pipeline.enqueue("big")
    next_up(pipeline, 8)
    quiet = [pipeline.enqueue("quiet") for _ in range(3)]

    assert [pipeline.job(job)["round"] for job in quiet] == [8, 9, 10]


def test_a_retry_from_an_old_round_does_not_bring_the_old_rounds_back(pipeline: Pipeline) -> None:
    """Otherwise a tenant that arrives meanwhile would join that old round and overtake everyone."""
    retry = pipeline.submit("early", tag="sandbox:status=500")
    busy = [pipeline.enqueue("busy") for _ in range(60)]
    assert next_up(pipeline, 50) == busy[:50]
    pipeline.wake()
    late = [pipeline.enqueue("late") for _ in range(20)]

    turn = next_up(pipeline, 9)
    assert turn[0] == retry, "it is still the first of those whose turn it is"
    assert len(set(turn) & set(late)) == len(set(turn) & set(busy)) == 4


def test_rounds_are_counted_for_each_priority(pipeline: Pipeline) -> None:
    for _ in range(5):
        pipeline.enqueue("acme")
    assert pipeline.job(pipeline.enqueue("acme", priority="high"))["round"] == 0


def test_many_cases_enqueued_in_one_transaction_take_turns_too(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as connection:
        for n in range(20):
            insert(connection, admit("big", {"debtor": {}, "n": n}))
    small = pipeline.enqueue("small")

    assert small in next_up(pipeline, 2)


def test_many_cases_replayed_at_once_take_turns_too(pipeline: Pipeline) -> None:
    """After a person replays one client's five hundred dead jobs, other tenants still get their turn."""
    dead = [pipeline.enqueue("big", tag="sandbox:status=403") for _ in range(30)]
    pipeline.run()
    pipeline.replay(*dead)
    small = pipeline.enqueue("small")

    assert small in next_up(pipeline, 2)
    rounds = Counter(pipeline.job(job)["round"] for job in dead)
    assert max(rounds.values()) == 1


@pytest.mark.parametrize("room", [0, 1, 7])
def test_no_more_go_out_than_there_is_room_for(pipeline: Pipeline, room: int) -> None:
    for _ in range(10):
        pipeline.enqueue()
    assert len(next_up(pipeline, room)) == room


def test_a_job_whose_worker_did_not_report_back_is_to_go_alone(pipeline: Pipeline) -> None:
    unlucky = pipeline.enqueue()
    pipeline.claim(pipeline.release())
    pipeline.lapse()
    pipeline.wake()
    fresh = pipeline.enqueue()
    with transaction(pipeline.engine) as connection:
        released = {job.id: job.alone for job in release.release(connection, room=10)}

    assert released == {unlucky: True, fresh: False}


def test_what_is_due_wakes_and_what_is_not_sleeps_on(pipeline: Pipeline) -> None:
    due, later = (pipeline.submit(tag="sandbox:status=503") for _ in range(2))
    change_job(pipeline.ledger, due, due_at=NOW)
    change_job(pipeline.ledger, later, due_at=from_now("1 hour"))
    with transaction(pipeline.engine) as connection:
        assert release.wake_due(connection) == 1

    assert (pipeline.job(due)["state"], pipeline.job(later)["state"]) == ("pending", "waiting")


def test_an_id_is_taken_back_only_when_nobody_has_claimed_it_for_long(pipeline: Pipeline) -> None:
    lost, young = pipeline.enqueue(), pipeline.enqueue()
    pipeline.release()
    change_job(pipeline.ledger, lost, queued_at=ago("61 s"))
    with transaction(pipeline.engine) as connection:
        assert release.reclaim_unclaimed(connection, requeue_seconds=60) == 1

    assert (pipeline.job(lost)["state"], pipeline.job(young)["state"]) == ("pending", "queued")
    assert pipeline.job(lost)["attempt_count"] == 0


def test_a_lease_is_taken_back_only_when_it_is_over(pipeline: Pipeline) -> None:
    over, holding = pipeline.enqueue(), pipeline.enqueue()
    pipeline.claim(pipeline.release())
    change_job(pipeline.ledger, over, lease_until=ago("1 ms"))
    with transaction(pipeline.engine) as connection:
        (taken,) = release.reclaim_expired(connection, policy=RetryPolicy(3, 1, 2))
    assert taken == (over, False, True)

    assert (pipeline.job(over)["state"], pipeline.job(holding)["state"]) == ("waiting", "submitting")
    assert pipeline.job(over)["due_at"] <= pipeline.attempts(over)[0]["finished_at"], "the first time, due at once"
