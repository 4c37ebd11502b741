"""The cost of the happy path: transactions per batch, round trips and requests per job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.client import Pipeline as RedisPipeline
from redis.client import Redis
from sqlalchemy import Engine, event

from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from worker.submission.send import Sender

TENANTS = [f"tenant-{n}" for n in range(20)]


class Costs(Counter[str]):
    """Counts from the moment of `begin`."""

    def begin(self) -> None:
        self.clear()


@pytest.fixture
def costs(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Costs]:
    counted = Costs()

    def statement(*_: Any) -> None:
        counted["statements"] += 1

    def commit(_: Any) -> None:
        counted["commits"] += 1

    def rollback(_: Any) -> None:
        counted["rollbacks"] += 1

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def round_trip(*arguments: Any, **more: Any) -> Any:
            counted["redis"] += 1
            return original(*arguments, **more)

        return round_trip

    monkeypatch.setattr(Redis, "execute_command", counting(Redis.execute_command))
    monkeypatch.setattr(RedisPipeline, "execute", counting(RedisPipeline.execute))
    # However slow this machine is just now, all of a batch finishes before the first is recorded for its age.
    monkeypatch.setattr("worker.submission.batch.RECORD_WITHIN", 30.0)
    engine: Engine = pipeline.engine
    listeners = {"before_cursor_execute": statement, "commit": commit, "rollback": rollback}
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    yield counted
    for name, listener in listeners.items():
        event.remove(engine, name, listener)


def prepare(pipeline: Pipeline) -> list[Any]:
    """A batch of one case for each tenant, released, after a first one that has minted all tokens."""
    for tenant in TENANTS:
        pipeline.enqueue(tenant)
    pipeline.run()
    for tenant in TENANTS:
        pipeline.enqueue(tenant)
    return pipeline.release()


def test_a_batch_of_twenty_costs_one_claim_and_one_record_of_two_statements(pipeline: Pipeline, costs: Costs) -> None:
    ids = prepare(pipeline)
    costs.begin()

    assert pipeline.run(ids) == 20

    assert costs["commits"] <= 2
    assert costs["statements"] <= 3
    assert costs["rollbacks"] == 0
    assert pipeline.ledger.value("SELECT count(*) FROM jobs WHERE state = 'submitted'") == 40


def test_a_job_costs_one_request_and_one_round_trip_to_redis(
    pipeline: Pipeline, sandbox: Witness, costs: Costs
) -> None:
    ids = prepare(pipeline)
    pipeline.runner.submitter.tokens._memory.clear()  # as if this process had not seen them lately
    posts, mints = len(sandbox.posts()), sandbox.mints()
    costs.begin()

    pipeline.run(ids)

    assert costs["redis"] == 20
    assert len(sandbox.posts()) - posts == 20
    assert sandbox.mints() == mints == 20
    assert sandbox.lookups() == 0


def test_a_token_that_this_process_used_just_now_costs_no_round_trip_at_all(
    pipeline: Pipeline, costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.debitura.tokens.MEMORY_SECONDS", 60.0)
    ids = prepare(pipeline)
    costs.begin()

    pipeline.run(ids)

    assert costs["redis"] == 0


def test_no_transaction_is_open_while_a_request_is_under_way(
    pipeline: Pipeline, sandbox: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = Sender._post

    def look(self: Sender, *arguments: Any) -> Any:
        seen.extend(pipeline.ledger.rows("SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"))
        return original(self, *arguments)

    monkeypatch.setattr(Sender, "_post", look)
    pipeline.enqueue()
    pipeline.enqueue(tag="sandbox:401-once")
    pipeline.run()

    assert len(sandbox.posts()) == 3
    assert seen == []


def test_a_job_is_recorded_though_its_neighbour_takes_long(pipeline: Pipeline) -> None:
    """A batch is transport only: no job waits for the slowest one."""
    slow = pipeline.enqueue(tag="sandbox:slow=2500")
    quick = [pipeline.enqueue() for _ in range(5)]
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pipeline.run)
        while {pipeline.job(job)["state"] for job in quick} != {"submitted"}:
            assert not running.done(), "the quick ones were recorded before the slow one was"
        assert pipeline.job(slow)["state"] == "submitting"
        running.result(10)

    assert pipeline.job(slow)["state"] == "submitted"
