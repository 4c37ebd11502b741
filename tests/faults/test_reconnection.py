"""A worker whose broker went away and came back consumes again by itself, whatever it held."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.faults.lanes import Plan, Programme, Scenario
from tests.faults.rabbitmq import installed, require_rabbitmq
from tests.faults.stage import Stage
from tests.faults.until import until

#: Seconds within which a worker consumes again.
BACK_WITHIN = 30.0
#: Seconds that the broker stays away after the worker has noticed: longer than its first try to reconnect.
STAYS_AWAY = 2.5


def holding_nothing(stage: Stage) -> None:
    """The worker is idle."""
    _lose_the_broker(stage)


def holding_submissions(stage: Stage) -> None:
    """Requests are under way."""
    stage.witness.be_slow(1500)
    stage.enqueue(60)
    until("requests are under way", lambda: stage.states().get("submitting"), within=20)
    _lose_the_broker(stage)
    stage.witness.behave()


def holding_a_message(stage: Stage) -> None:
    """A `cases.accept` is at work, and so not acked: what kombu 5.7.0 stumbles over."""
    with psycopg.connect(stage.database_url) as lock:
        lock.execute("LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE")
        stage.send(2)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE '%INSERT INTO jobs%'"
        )
        until("a message is held", lambda: stage.rows(waiting)[0][0], within=20, but=stage.nodes[0].said)
        _lose_the_broker(stage)


def _lose_the_broker(stage: Stage) -> None:
    (worker,) = stage.nodes
    said = len(worker.said())
    stage.broker.kill()
    until("the worker notices", lambda: "onnection to broker lost" in worker.said()[said:], within=20, but=worker.said)
    time.sleep(STAYS_AWAY)
    stage.broker.restart()


def reconnects(hold: Scenario) -> Scenario:
    """The broker goes away while the worker is like that; it comes back, and a new message is consumed."""

    def scenario(stage: Stage) -> None:
        (worker,) = stage.nodes
        pid = worker.pid
        hold(stage)
        began = time.monotonic()
        stage.send(1)
        _settle_in_time(stage)
        seconds = time.monotonic() - began
        assert (worker.pid, worker.status) == (pid, "running")
        assert seconds < BACK_WITHIN, f"it took {seconds:.1f} s"
        stage.require_invariant()
        stage.require_all_submitted()

    return scenario


def _settle_in_time(stage: Stage) -> None:
    stage.settle(within=BACK_WITHIN, broker_forgot=stage.rabbitmq is None)


HOLDS = (holding_nothing, holding_submissions, holding_a_message)
SCENARIOS = {
    pool: {f"{pool}, {hold.__name__.replace('_', ' ')}": reconnects(hold) for hold in HOLDS}
    for pool in ("prefork", "threads")
}
OVER_AMQP = {f"amqp, {hold.__name__.replace('_', ' ')}": reconnects(hold) for hold in HOLDS[1:]}
PLANS = (
    *(Plan(scenarios, lanes=1, stage={"pools": (pool,)}) for pool, scenarios in SCENARIOS.items()),
    Plan(OVER_AMQP, lanes=1, stage={"pools": ("prefork",), "over_amqp": True}, possible=installed),
)


@pytest.mark.parametrize("scenario", [*SCENARIOS["prefork"], *SCENARIOS["threads"]])
def test_given_a_broker_that_went_away_when_it_is_back_then_the_worker_consumes_again(
    programme: Programme, scenario: str
) -> None:
    programme.outcome(scenario)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("scenario", OVER_AMQP)
def test_given_rabbitmq_that_went_away_when_it_is_back_then_the_worker_consumes_again(
    programme: Programme, scenario: str
) -> None:
    require_rabbitmq()
    programme.outcome(scenario)
