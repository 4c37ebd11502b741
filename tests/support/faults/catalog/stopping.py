"""Processes that die at one exact step, whichever reaches it first."""

from __future__ import annotations

import time

from tests.support.faults.catalog import Fault, Strike
from tests.support.faults.stops import ACCEPT_POINTS, CHILD_POINTS, DISPATCHER_POINTS, Stop

#: Seconds that a point waits for somebody to come past it.
PATIENCE = 3.0


def child_at_a_step(strike: Strike) -> None:
    """A child dies at a random step, in the middle of a batch or not."""
    point = strike.dice.choice(CHILD_POINTS + ACCEPT_POINTS)
    _arm(strike, point, Stop("kill_child", nth=strike.dice.choice((1, 1, 5))))


def worker_at_a_step(strike: Strike) -> None:
    """A whole worker dies at a random step, of a job or of its dispatcher."""
    point = strike.dice.choice(CHILD_POINTS + ACCEPT_POINTS + DISPATCHER_POINTS)
    if _arm(strike, point, Stop("kill_worker")):
        strike.stage.wait_for_a_death()
    strike.stage.revive()


def bug_at_a_step(strike: Strike) -> None:
    """Our own code raises something at a random step."""
    _arm(strike, strike.dice.choice(CHILD_POINTS), Stop("raise"))


def _arm(strike: Strike, point: str, stop: Stop) -> bool:
    """Returns whether a process reached the point."""
    stops = strike.stage.stops
    stops.arm(point, stop)
    deadline = time.monotonic() + PATIENCE
    while not stops.happened(point) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not stops.disarm(point)


FAULTS = (
    Fault("child_dies_at_a_step", "workers", child_at_a_step),
    Fault("worker_dies_at_a_step", "workers", worker_at_a_step),
    Fault("bug_at_a_step", "workers", bug_at_a_step),
)
