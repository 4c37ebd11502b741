"""What a replay of a dead job does: under which key, and whether the case is looked up first. Pure.

The rule is defined only here. The replay's SQL, the preview, the page, the terminal and the worker all use it
(developer-concepts/idempotency).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from itertools import product


class ReplayPlan(StrEnum):
    """What happens to a dead letter that is replayed."""

    NEW_KEY = "new_key"
    """The API refused the case for certain: it is sent under a new key, since the old one repeats the refusal."""
    LOOK_UP_FIRST = "look_up_first"
    """The case may exist: it is looked up by its creditorReference before anything is sent."""
    SAME_KEY = "same_key"
    """A request may have arrived, and no reference helps: the old key keeps the API from making a second case."""
    ASK_A_PERSON = "ask_a_person"
    """The ledger was restored and no reference helps: a person must look in Debitura before anything is sent."""
    IMPOSSIBLE = "impossible"
    """A message that became no job has no case to send."""

    @property
    def case_may_exist(self) -> bool:
        """Whether Debitura may have the case already, so that a discard takes nothing back there."""
        return self in {ReplayPlan.LOOK_UP_FIRST, ReplayPlan.SAME_KEY, ReplayPlan.ASK_A_PERSON}


def plan_replay(*, is_job: bool = True, outcome_unknown: bool, look_up_first: bool, has_reference: bool) -> ReplayPlan:
    """Return the plan for one dead letter.

    `outcome_unknown`: a request may have arrived, and no answer settled it. `look_up_first`: `reconcile` marked the job
    after a restore. `has_reference`: the case has a creditorReference.
    """
    if not is_job:
        return ReplayPlan.IMPOSSIBLE
    if not (outcome_unknown or look_up_first):
        return ReplayPlan.NEW_KEY
    if has_reference:
        return ReplayPlan.LOOK_UP_FIRST
    return ReplayPlan.ASK_A_PERSON if look_up_first else ReplayPlan.SAME_KEY


def keeps_key(*, outcome_unknown: bool) -> bool:
    """Whether a replay keeps the submission key.

    After an unknown outcome the old key prevents a second case. A known outcome is stored under the old key, so the API
    would repeat it. This also holds for a job that `reconcile` marked: if the lost hours replayed it, they did so under
    another key.
    """
    return outcome_unknown


def plan_in_sql(*, outcome_unknown: str, look_up_first: str, has_reference: str) -> str:
    """`plan_replay` for a job as an SQL expression over boolean SQL expressions that are never null."""

    def plan(unknown: bool, marked: bool, reference: bool) -> str:  # noqa: FBT001 - a row of the table of cases
        return plan_replay(outcome_unknown=unknown, look_up_first=marked, has_reference=reference)

    return _case_in_sql(plan, outcome_unknown, look_up_first, has_reference)


def keeps_key_in_sql(*, outcome_unknown: str) -> str:
    """`keeps_key` as an SQL expression over a boolean SQL expression that is never null."""
    return _case_in_sql(lambda unknown: str(keeps_key(outcome_unknown=unknown)).lower(), outcome_unknown, quote="")


def _case_in_sql(rule: Callable[..., str], *conditions: str, quote: str = "'") -> str:
    """Return one WHEN for each combination of the conditions, with the rule's own answer."""
    rows = []
    for values in product((False, True), repeat=len(conditions)):
        fits = " AND ".join(f"({c})" if v else f"NOT ({c})" for c, v in zip(conditions, values, strict=True))
        rows.append(f"WHEN {fits} THEN {quote}{rule(*values)}{quote}")
    return f"CASE {' '.join(rows)} END"
