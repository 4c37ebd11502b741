"""What a replay does, for every combination of what is known of a dead letter."""

from __future__ import annotations

import pytest

from worker.ledger.states import WaitReason
from worker.policy.replay_plan import ReplayPlan, keeps_key, plan_replay
from worker.report.tally import PLAN_NAMES, describe_plans
from worker.report.waiting import WAIT_REASONS

#: (outcome unknown, marked by `reconcile`, has a reference): the plan, and whether the key stays.
EXPECTED = {
    (False, False, False): (ReplayPlan.NEW_KEY, False),
    (False, False, True): (ReplayPlan.NEW_KEY, False),
    (False, True, False): (ReplayPlan.ASK_A_PERSON, False),
    (False, True, True): (ReplayPlan.LOOK_UP_FIRST, False),
    (True, False, False): (ReplayPlan.SAME_KEY, True),
    (True, False, True): (ReplayPlan.LOOK_UP_FIRST, True),
    (True, True, False): (ReplayPlan.ASK_A_PERSON, True),
    (True, True, True): (ReplayPlan.LOOK_UP_FIRST, True),
}


@pytest.mark.parametrize(("facts", "expected"), EXPECTED.items())
def test_a_replay_is_planned_from_what_is_known(
    facts: tuple[bool, bool, bool], expected: tuple[ReplayPlan, bool]
) -> None:
    unknown, marked, reference = facts

    plan = plan_replay(outcome_unknown=unknown, look_up_first=marked, has_reference=reference)

    assert (plan, keeps_key(outcome_unknown=unknown)) == expected


@pytest.mark.parametrize("facts", EXPECTED)
def test_discarding_warns_exactly_if_the_case_may_exist(facts: tuple[bool, bool, bool]) -> None:
    unknown, marked, reference = facts

    plan = plan_replay(outcome_unknown=unknown, look_up_first=marked, has_reference=reference)

    assert plan.case_may_exist is (unknown or marked)


@pytest.mark.parametrize("facts", EXPECTED)
def test_a_message_that_became_no_job_cannot_be_replayed(facts: tuple[bool, bool, bool]) -> None:
    unknown, marked, reference = facts

    plan = plan_replay(is_job=False, outcome_unknown=unknown, look_up_first=marked, has_reference=reference)

    assert plan is ReplayPlan.IMPOSSIBLE
    assert not plan.case_may_exist


def test_each_plan_of_a_job_and_each_wait_reason_has_words() -> None:
    assert set(PLAN_NAMES) == set(ReplayPlan) - {ReplayPlan.IMPOSSIBLE}
    assert set(WAIT_REASONS) == set(WaitReason)
    assert describe_plans({ReplayPlan.NEW_KEY: 9, ReplayPlan.LOOK_UP_FIRST: 2}) == "new key 9, look-up first 2"
