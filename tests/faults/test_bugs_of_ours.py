"""A bug in our own code, at any step: the job stays in the ledger, is taken back, and the error is kept."""

from __future__ import annotations

import pytest

from tests.faults.lanes import Plan, Programme, Scenario
from tests.faults.stage import Stage
from tests.faults.stops import CHILD_POINTS, Stop

ERRORS = ("ZeroDivisionError", "MemoryError", "SystemExit", "RecursionError")
#: Here no attempt is open (the claim is not committed yet, or the outcome is): there is nothing to keep the error with.
OUTSIDE = ("before_claim", "claim_uncommitted", "recorded")


def with_a_bug_at(point: str, error: str) -> Scenario:
    """Our own code raises that there, once."""

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
        assert (kept[0][0] > 0) == expected, f"{kept[0][0]} attempts keep the error"

    return scenario


SCENARIOS = {
    **{f"ZeroDivisionError at {point}": with_a_bug_at(point, "ZeroDivisionError") for point in CHILD_POINTS},
    **{f"{error} at before_claim": with_a_bug_at("before_claim", error) for error in ERRORS[1:]},
    **{f"{error} at answered": with_a_bug_at("answered", error) for error in ERRORS[1:]},
    **{f"{error} at claimed": with_a_bug_at("claimed", error) for error in ERRORS[1:]},
}


PLANS = (Plan(SCENARIOS, lanes=2, stage={"pools": ("prefork",)}),)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_given_a_bug_when_it_strikes_then_the_job_is_taken_back(programme: Programme, scenario: str) -> None:
    programme.outcome(scenario)
