"""What the dispatcher releases, and in whose favour: the pace, the turn, the caps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest
from pipeline import Pipeline
from test_dispatcher import Recorder

from worker.ledger.database import transaction
from worker.ledger.queries.waiting import fleet_waits, turn
from worker.ledger.states import Api
from worker.ledger.writer.pace import FINE_FOR, roll_up, take, use
from worker.pace import Pace
from worker.queue.dispatcher import Dispatcher
from worker.report.waiting import estimate_in_words, fleet_in_words, job_in_words

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
    pipeline.ledger.rows(
        "UPDATE jobs SET state = 'discarded', finalized_at = now(), queued_at = NULL WHERE state = 'queued'"
    )
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
def test_a_lower_priority_waits_longer_but_not_for_ever(new_pipeline: PipelineMaker, low: str, high: str) -> None:
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
        why = job_in_words(pipeline.job(jobs[-1]), last, waits, tenant_cap=4)

    assert last is not None
    assert last.ahead == 4
    assert why[0] == "4 jobs have their turn before it."
    assert any("The rate limit is used up (4 of 4 in an hour)" in words and "frees in" in words for words in why)
    assert waits.backlog == 5
    assert "5 jobs, about" in estimate_in_words(waits)
    assert fleet_in_words(waits)[-1] == "No dispatcher leads: is a worker running?"


def test_a_broker_that_is_away_uses_up_no_allowance(new_pipeline: PipelineMaker) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="1000/second;30/hour")
    for n in range(40):
        pipeline.enqueue(f"t{n}")
    dispatcher, published = dispatcher_of(pipeline)
    published.failing = set(range(100))
    for _ in range(10):
        with pytest.raises(ConnectionResetError):
            dispatcher.tick()
    assert used(pipeline, "30/hour")[3600] == 0

    published.failing = set()
    dispatcher.tick()

    assert len(published.ids) == 30
