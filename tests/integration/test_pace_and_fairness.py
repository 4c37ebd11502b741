"""What the dispatcher releases: rate limits, fairness between tenants, concurrency caps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from tests.support.pipeline import Pipeline
from tests.support.publisher import Recorder
from tests.support.rows import change_jobs
from tests.support.sandbox_witness import Witness
from worker.dispatch.dispatcher import Dispatcher, NotPublished
from worker.ledger.database import is_passing, transaction
from worker.ledger.queries.waiting import fleet_waits, turn
from worker.ledger.states import Api
from worker.ledger.writer.pace import FINE_FOR, FROZEN_FOR, lock_for_release, roll_up, take, use
from worker.policy.rate_limit import Pace
from worker.report.waiting import describe_estimate, describe_fleet, describe_job

PipelineMaker = Callable[..., Pipeline]


def dispatcher_of(pipeline: Pipeline) -> tuple[Dispatcher, Recorder]:
    published = Recorder()
    return Dispatcher(pipeline.settings, published, name="one"), published


def tenants(pipeline: Pipeline, ids: list[UUID]) -> list[str]:
    found = dict(pipeline.ledger.rows("SELECT id, external_tenant_id FROM jobs"))
    return [str(found[job]) for job in ids]


def used(pipeline: Pipeline, notation: str) -> dict[int, int]:
    with transaction(pipeline.engine) as connection:
        return use(connection, Api.CUSTOMER, Pace.parse(notation)).requests


def test_no_more_is_released_than_the_smallest_window_has_room_for(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="1000/second;7/hour")
    for n in range(20):
        pipeline.enqueue(f"t{n}")
    dispatcher, published = dispatcher_of(pipeline)

    for _ in range(5):
        dispatcher.tick()

    assert len(published.ids) == 7
    assert used(pipeline, "7/hour")[3600] == 7


def test_an_emptied_redis_forgets_nothing_of_the_pace(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="1000/second;5/hour")
    for n in range(10):
        pipeline.enqueue(f"t{n}")
    first, one = dispatcher_of(pipeline)
    first.tick()
    second, two = dispatcher_of(pipeline)  # another worker leads, and everything outside SQL is gone
    second.tick()

    assert len(one.ids) + len(two.ids) == 5


def test_while_the_pace_binds_requests_are_released_evenly(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="600/minute")
    with transaction(pipeline.engine) as connection:  # a fleet that has been busy
        take(connection, Api.CUSTOMER, Pace.parse("600/minute"), 400)
    pipeline.ledger.rows("UPDATE pace SET next_at = now()")
    for n in range(50):
        pipeline.enqueue(f"t{n}")
    dispatcher, published = dispatcher_of(pipeline)

    dispatcher.tick()

    assert 1 <= len(published.ids) <= 3, "a quarter of a second of ten a second"


def test_a_clock_that_was_set_back_stops_nothing_for_long(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="600/minute")
    pipeline.ledger.rows("UPDATE pace SET next_at = now() + interval '10 hours'")
    with transaction(pipeline.engine) as connection:
        take(connection, Api.CUSTOMER, Pace.parse("600/minute"), 1)

    assert pipeline.ledger.value("SELECT next_at < now() + interval '62 seconds' FROM pace WHERE api = 'customer'")


def test_a_dispatcher_that_freezes_in_the_middle_of_a_release_holds_nobody_up_for_long(pipeline: Pipeline) -> None:
    with pipeline.engine.connect() as frozen:
        lock_for_release(frozen)
        with transaction(pipeline.engine) as another:
            another.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
            began = time.monotonic()
            lock_for_release(another)
        assert time.monotonic() - began < FROZEN_FOR + 5
        with pytest.raises(DBAPIError) as lost:
            take(frozen, Api.CUSTOMER, Pace.parse("600/minute"), 1)
        assert is_passing(lost.value), "whoever was frozen tries again, and calls it no bug"
        frozen.invalidate()


def test_counts_from_before_the_clock_was_set_back_fill_no_window_for_hours(new_pipeline: PipelineMaker) -> None:
    """After the clock is set back by nine of ten counted hours, the last minute has only its own requests."""
    pipeline = new_pipeline(WORKER_RATE_LIMITS="600/minute;1000000/day")
    pipeline.ledger.rows(
        "INSERT INTO api_use (api, since, requests) SELECT 'customer', date_trunc('minute', now())"
        " + interval '9 hours' - n * interval '1 minute', 300 FROM generate_series(0, 599) n"
    )
    assert used(pipeline, "600/minute")[60] > 600
    with transaction(pipeline.engine) as connection:
        roll_up(connection)

    assert 300 <= used(pipeline, "600/minute")[60] <= 900, "the newest minute, and what was counted a day's hours ago"
    assert used(pipeline, "1000000/day")[86_400] == 600 * 300, "and nothing is forgotten"
    pipeline.ledger.rows("DELETE FROM api_use WHERE since > now() - interval '2 minutes'")  # two minutes later
    pipeline.enqueue()
    dispatcher, published = dispatcher_of(pipeline)
    dispatcher.tick()
    assert len(published.ids) == 1


def test_old_counts_are_put_together_and_none_is_lost(pipeline: Pipeline) -> None:
    pipeline.ledger.rows(
        "INSERT INTO api_use (api, since, requests, answers, failures)"
        " SELECT 'customer', date_trunc('second', now()) - n * interval '1 second', 2, 2, 1"
        " FROM generate_series(0, 999) n"
        " ON CONFLICT DO NOTHING"
    )
    before = used(pipeline, "1000/minute;20000/hour")
    with transaction(pipeline.engine) as connection:
        roll_up(connection)
        roll_up(connection)

    assert used(pipeline, "1000/minute;20000/hour") == before
    assert pipeline.ledger.value("SELECT sum(requests) FROM api_use") == 2000
    assert int(str(pipeline.ledger.value("SELECT count(*) FROM api_use"))) < FINE_FOR + 100


def test_behind_a_tenant_with_thousands_waiting_a_single_job_is_served_next(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="600/minute")
    for _ in range(300):
        pipeline.enqueue("giant")
    dispatcher, published = dispatcher_of(pipeline)
    dispatcher.tick()
    newcomer = pipeline.enqueue("newcomer")
    served = len(published.ids)
    change_jobs(pipeline.ledger, "queued", state="discarded")
    pipeline.ledger.rows("UPDATE pace SET next_at = now() - interval '1 hour'")

    dispatcher.tick()

    assert newcomer in published.ids[served : served + 2]


def test_no_tenant_has_more_under_way_than_its_cap_and_the_others_are_not_held_up(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_TENANT_CONCURRENCY="3", WORKER_RATE_LIMITS="100000/minute")
    for _ in range(2000):
        pipeline.enqueue("slow")
    dispatcher, published = dispatcher_of(pipeline)
    dispatcher.tick()
    # The slow one's rounds stay behind, so that its jobs fill the head of the turn.
    pipeline.ledger.rows("UPDATE jobs SET round = round - 10000 WHERE state = 'pending'")
    for n in range(30):
        pipeline.enqueue(f"quick-{n % 10}")
    pipeline.ledger.rows("UPDATE jobs SET round = 5 WHERE external_tenant_id <> 'slow'")
    for _ in range(3):
        dispatcher.tick()

    count = Counter(tenants(pipeline, published.ids))
    assert count.pop("slow") == 3
    assert len(count) == 10
    assert max(count.values()) == 3


@pytest.mark.parametrize(("low", "high"), [("low", "normal"), ("low", "high"), ("normal", "high")])
def test_a_job_of_a_lower_priority_waits_longer_and_is_still_served(
    new_pipeline: PipelineMaker, low: str, high: str
) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="100000/minute", WORKER_BATCH="1", WORKER_TENANT_CONCURRENCY="1000")
    for n in range(200):
        pipeline.enqueue(f"h{n}", priority=high)
    lower = [pipeline.enqueue(f"l{n}", priority=low) for n in range(5)]
    dispatcher, published = dispatcher_of(pipeline)
    for _ in range(3):
        dispatcher.tick()
        pipeline.claim(published.ids)

    assert lower[0] in published.ids[:40]
    assert len(set(lower) & set(published.ids)) < len(published.ids) / 4, "and most turns go to the higher one"


def test_why_a_job_waits_is_said_in_words(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="100/second;4/hour")
    jobs = [pipeline.enqueue(f"t{n}") for n in range(9)]
    dispatcher, _ = dispatcher_of(pipeline)
    dispatcher.tick()
    pace = Pace.parse(pipeline.settings.rate_limits)
    with transaction(pipeline.engine) as connection:
        waits = fleet_waits(connection, pace)
        last = turn(connection, jobs[-1])
        why = describe_job(pipeline.job(jobs[-1]), last, waits, tenant_cap=4)

    assert last is not None
    assert last.ahead == 4
    assert why[0] == "4 jobs are ahead of it."
    assert any(
        "The rate limit is used up (4 of 4 in an hour)" in words and "capacity returns in" in words for words in why
    )
    assert waits.backlog == 5
    assert "5 jobs, about" in describe_estimate(waits)
    assert describe_fleet(waits)[-1] == "No dispatcher is leading: is a worker running?"


def test_many_mints_at_once_stay_within_the_mint_s_rate_limit(new_pipeline: PipelineMaker, sandbox: Witness) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="1000/second;3/hour")
    for n in range(16):
        pipeline.enqueue(f"t{n}")
    pipeline.run()

    assert sandbox.mint_requests() == 3
    assert set(pipeline.holds()) == {"mint_rate_limit"}


def test_limits_that_a_rolling_restart_lowers_hold_for_whoever_leads(new_pipeline: PipelineMaker) -> None:
    """Workers with the old limits and workers with lower limits lead in turn."""
    old = new_pipeline(WORKER_RATE_LIMITS="1000/second;30/hour", WORKER_TENANT_CONCURRENCY="100")
    new = new_pipeline(WORKER_RATE_LIMITS="500/second;20/hour", WORKER_TENANT_CONCURRENCY="100")
    for n in range(90):
        old.enqueue(f"t{n}")
    (before, early), (after, late) = dispatcher_of(old), dispatcher_of(new)

    before.tick()
    assert len(early.ids) == 30, "the old limit, as long as it leads"
    old.ledger.rows("DELETE FROM api_use")  # an hour later
    for _ in range(3):
        after.tick()
    assert len(late.ids) == 20
    for _ in range(3):
        before.tick()
        after.tick()

    assert len(early.ids) - 30 + len(late.ids) == 30, "what one has released the other has counted"
    assert len(late.ids) == 20


def test_a_backoff_is_named_as_the_reason_for_waiting(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline()
    job = pipeline.submit(tag="sandbox:status=500")
    with transaction(pipeline.engine) as connection:
        waits = fleet_waits(connection, Pace.parse("600/minute"))
    fleet, alone = describe_fleet(waits), describe_job(pipeline.job(job), None, waits, tenant_cap=4)

    assert any(words.startswith("Backoff: 1 job not due yet") for words in fleet), fleet
    assert alone[0].startswith("Its last attempt failed. Backoff until")
    assert not any("Not paused" in words for words in fleet + alone)


def test_when_a_window_frees_is_said_as_the_dispatcher_counts(new_pipeline: PipelineMaker) -> None:
    """A limit lowered below what was sent is free only when enough of those requests are old."""
    pipeline = new_pipeline()
    pipeline.enqueue()
    pipeline.ledger.rows(
        "INSERT INTO api_use (api, since, requests) SELECT 'customer', date_trunc('second', now())"
        " - n * interval '1 second', 10 FROM generate_series(10, 59) n"
    )
    with transaction(pipeline.engine) as connection:
        waits = fleet_waits(connection, Pace.parse("100/minute;1000000/day"))
    minute = waits.windows[0]

    # The tenth bucket of ten is 19 s old; when it goes, 90 are left.
    assert minute.frees_in == pytest.approx(60 + 1 - 19, abs=2)
    assert waits.estimate >= minute.frees_in, "and nothing is through before"
    with transaction(pipeline.engine) as connection:
        assert fleet_waits(connection, Pace.parse("501/minute")).windows[0].frees_in is None


def test_a_broker_that_is_away_uses_up_no_allowance(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="1000/second;30/hour")
    for n in range(40):
        pipeline.enqueue(f"t{n}")
    dispatcher, published = dispatcher_of(pipeline)
    published.failing = set(range(100))
    for _ in range(10):
        with pytest.raises(NotPublished):
            dispatcher.tick()
    assert used(pipeline, "30/hour")[3600] == 0

    published.failing = set()
    dispatcher.tick()

    assert len(published.ids) == 30
