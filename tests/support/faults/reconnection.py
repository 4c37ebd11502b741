"""Scenarios in which the broker goes away while a worker holds something, and comes back."""

from __future__ import annotations

import time

import psycopg

from tests.support.faults.lanes import Scenario
from tests.support.faults.stage import Stage
from tests.support.until import until

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
    """A `cases.accept` is running and not yet acknowledged, which breaks kombu 5.7.0's reconnection."""
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
    said = {node: len(node.said()) for node in stage.nodes}
    stage.broker.kill()
    for node in stage.nodes:
        until(
            "the worker notices",
            lambda node=node: "onnection to broker lost" in node.said()[said[node] :],
            within=30,
            but=node.said,
        )
    time.sleep(STAYS_AWAY)
    stage.broker.restart()


def reconnects(hold: Scenario) -> Scenario:
    """The broker goes away while the worker is like that; it comes back, and a new message is consumed."""

    def scenario(stage: Stage) -> None:
        pids = [node.pid for node in stage.nodes]
        hold(stage)
        began = time.monotonic()
        stage.send(1)
        _settle_in_time(stage)
        seconds = time.monotonic() - began
        assert [node.pid for node in stage.nodes] == pids
        assert all(node.status == "running" for node in stage.nodes)
        assert seconds < BACK_WITHIN, f"it took {seconds:.1f} s"
        stage.require_invariant()
        stage.require_all_submitted()

    return scenario


def _settle_in_time(stage: Stage) -> None:
    stage.settle(within=BACK_WITHIN, broker_forgot=stage.rabbitmq is None)
