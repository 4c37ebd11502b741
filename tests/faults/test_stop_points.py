"""A process dies or freezes at each step of a job's life: no case is lost or created twice."""

from __future__ import annotations

import pytest

from tests.support.faults.lanes import Plan, Programme
from tests.support.faults.scenarios import all_die_at, frozen_at, stopped_at
from tests.support.faults.stops import ACCEPT_POINTS, CHILD_POINTS, DISPATCHER_POINTS, REFUSAL_POINTS, TAKEN_POINT, Stop

#: Points that a child passes once for each job: the ninth is in the middle of a batch.
MID_BATCH = ("before_request", "answer_begun", "answered")

SCENARIOS = {
    **{f"a child dies at {point}": stopped_at(point, Stop("kill_child")) for point in CHILD_POINTS},
    **{
        f"a child dies at {point} in the middle of a batch": stopped_at(point, Stop("kill_child", nth=9))
        for point in MID_BATCH
    },
    **{f"a child dies at {point}": stopped_at(point, Stop("kill_child"), refused=True) for point in REFUSAL_POINTS},
    **{f"a child dies at {point}": stopped_at(point, Stop("kill_child"), senders=True) for point in ACCEPT_POINTS},
    **{f"a worker dies at {point}": stopped_at(point, Stop("kill_worker")) for point in CHILD_POINTS},
    "a worker dies at message_taken": stopped_at(TAKEN_POINT, Stop("kill_worker"), senders=True),
    "a worker dies at accept_uncommitted": stopped_at("accept_uncommitted", Stop("kill_worker"), senders=True),
    **{f"the dispatcher dies at {point}": stopped_at(point, Stop("kill_worker")) for point in DISPATCHER_POINTS},
    **{f"all workers die at {point}": all_die_at(point) for point in CHILD_POINTS},
    **{f"a child freezes at {point}": frozen_at(point, "freeze_child") for point in ("before_request", "answered")},
    "a worker freezes at before_request": frozen_at("before_request", "freeze_worker"),
}
PLANS = (Plan(SCENARIOS, lanes=3),)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_given_work_when_it_stops_there_then_nothing_is_lost_or_doubled(programme: Programme, scenario: str) -> None:
    programme.outcome(scenario)
