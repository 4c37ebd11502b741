"""A bug in our own code at any step: the job stays in the ledger, is reclaimed, and the error is stored."""

from __future__ import annotations

import pytest

from tests.support.faults.lanes import Plan, Programme, Scenario
from tests.support.faults.stage import Stage
from tests.support.faults.stops import CHILD_POINTS, Stop
from tests.support.until import until
from worker.queue.poison_messages import MAX_DEATHS

#: Here no attempt is open (the claim is not committed yet, or the outcome is): there is nothing to keep the error with.
OUTSIDE = ("before_claim", "claim_uncommitted", "recorded")


def with_a_bug_at(point: str, error: str) -> Scenario:
    """Raise that exception once at that point in our own code."""

    def scenario(stage: Stage) -> None:
        pids = [node.pid for node in stage.nodes]
        stage.stops.arm(point, Stop("raise", error=error))
        tenant = f"{point}-{error}".replace("_", "-")
        stage.enqueue(10, prefix=tenant, tenants=1)
        stage.stops.wait_for(point)
        stage.settle()
        stage.require_invariant()
        stage.require_all_submitted()
        assert [node.pid for node in stage.nodes] == pids
        assert all(node.status == "running" for node in stage.nodes)
        kept = stage.rows(
            "SELECT count(*) FROM attempts JOIN jobs ON id = job_id WHERE external_tenant_id = %s"
            " AND error_type = 'internal_error' AND error_message LIKE %s",
            f"{tenant}-0",
            f"%{error}%",
        )
        # SystemExit in a child's main thread is its end: no one is left to say why.
        expected = point not in OUTSIDE and (point, error) != ("claimed", "SystemExit")
        if point != "record_uncommitted":  # there it is made good at once, where it can be: each job is recorded alone
            assert (kept[0][0] > 0) == expected, f"{kept[0][0]} attempts keep the error"

    return scenario


def deadly_messages(stage: Stage) -> None:
    """Messages that kill one child after another are each stored for a person, and the next good one is processed.

    There are as many of them as the worker has slots, so none of them may keep its slot.
    """
    (worker,) = stage.nodes
    pid = worker.pid
    for number in (1, 2):
        stage.stops.arm("accept_begun", Stop("kill_child", times=MAX_DEATHS))
        stage.send(1)
        letters = until(f"{number} messages are kept", lambda n=number: _deadly(stage, n), within=60, but=worker.said)
        assert stage.stops.disarm("accept_begun") is False, "it took as many children as it may"
        (key,) = (key for key in stage.sent if f'"{key}"' in letters[-1])
        stage.expected.remove(("sender", key))
    stage.send(1)
    stage.settle()
    stage.require_invariant()
    assert (worker.pid, worker.status) == (pid, "running")


def _deadly(stage: Stage, number: int) -> list[str] | None:
    """What was sent, of so many messages that were kept because processes died over them; None until there are."""
    kept = "SELECT detail->>'sent' FROM dead_letters WHERE detail->>'message' LIKE '%processes%died%' ORDER BY id"
    letters = [sent for (sent,) in stage.rows(kept)]
    return letters if len(letters) == number else None


ELSEWHERE = (
    ("before_claim", "MemoryError"),
    ("claimed", "MemoryError"),
    ("claimed", "SystemExit"),
    ("answered", "MemoryError"),
    ("answered", "SystemExit"),
)
SCENARIOS = {
    **{f"ZeroDivisionError at {point}": with_a_bug_at(point, "ZeroDivisionError") for point in CHILD_POINTS},
    **{f"{error} at {point}": with_a_bug_at(point, error) for point, error in ELSEWHERE},
}
#: With production's two minutes until a message that nobody acked is thought to be a dead worker's. (A child's death is
#: noticed within seconds; the other scenarios' three seconds would bring a second copy of the message into play.)
DEADLY = {"messages that kill every child": deadly_messages}
PLANS = (
    Plan(SCENARIOS, lanes=1, stage={"pools": ("prefork",)}),
    Plan(DEADLY, lanes=1, stage={"pools": ("prefork",), "settings": {"FAULTS_VISIBILITY": "120"}}),
)


@pytest.mark.parametrize("scenario", [*SCENARIOS, *DEADLY])
def test_given_a_bug_when_it_strikes_then_the_job_is_taken_back(programme: Programme, scenario: str) -> None:
    programme.outcome(scenario)
