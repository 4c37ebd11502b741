"""A worker whose broker went away and came back consumes again by itself, whatever it held.

Over AMQP: test_rabbitmq.py.
"""

from __future__ import annotations

import pytest

from tests.support.faults.lanes import Plan, Programme
from tests.support.faults.reconnection import holding_a_message, holding_nothing, holding_submissions, reconnects

HOLDS = (holding_nothing, holding_submissions, holding_a_message)
SCENARIOS = {
    pool: {f"{pool}, {hold.__name__.replace('_', ' ')}": reconnects(hold) for hold in HOLDS}
    for pool in ("prefork", "threads")
}
PLANS = tuple(Plan(scenarios, lanes=1, stage={"pools": (pool,)}) for pool, scenarios in SCENARIOS.items())


@pytest.mark.parametrize("scenario", [*SCENARIOS["prefork"], *SCENARIOS["threads"]])
def test_given_a_broker_that_went_away_when_it_is_back_then_the_worker_consumes_again(
    programme: Programme, scenario: str
) -> None:
    programme.outcome(scenario)
