"""What a replay or a discard acts on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.queries.filters import OPEN_FAILURES, FailureFilter, conditions_of
from worker.policy.replay_plan import ReplayPlan, plan_in_sql, plan_replay


@dataclass(frozen=True, slots=True)
class Target:
    """One job or unreadable message to act on."""

    dead_letter_id: int | None
    """Its open dead letter; None if the job is not dead."""
    job_id: UUID | None
    external_tenant_id: str | None
    state: str | None
    outcome_unknown: bool
    look_up_first: bool
    creditor_reference: str | None

    @property
    def plan(self) -> ReplayPlan:
        """How a replay treats it."""
        return plan_replay(
            is_job=self.job_id is not None,
            outcome_unknown=self.outcome_unknown,
            look_up_first=self.look_up_first,
            has_reference=self.creditor_reference is not None,
        )


@dataclass(frozen=True, slots=True)
class Selected:
    """Counts of the failures that match a filter."""

    jobs: int
    tenants: int
    messages: int
    """Unreadable messages: dead letters without a job."""
    plans: Mapping[ReplayPlan, int]
    """Number of jobs per replay plan; plans without jobs are missing."""
    newest: int
    """The highest dead letter id: later failures don't belong to the selection."""
    amounts: dict[str, str] = field(default_factory=dict)
    """Sums by currency as plain decimal numbers; `?` for an unknown currency. Ordered by number of jobs."""
    without_amount: int = 0
    """Jobs with an unknown amount, which are in none of the sums."""

    @property
    def may_exist(self) -> int:
        """Jobs whose case may already exist at Debitura."""
        return sum(jobs for plan, jobs in self.plans.items() if plan.case_may_exist)


_SELECTED = """
    WITH found AS MATERIALIZED (
        SELECT d.id, j.id AS job_id, j.external_tenant_id AS tenant, COALESCE(j.currency, '?') AS currency, j.amount
        FROM {source}
        WHERE d.resolved_at IS NULL AND d.id <= :newest {conditions}
    ), parts AS (
        SELECT currency, count(*) AS failures, count(job_id) AS jobs,
               count(amount) AS known, sum(amount) AS total,
               max(id) AS newest
        FROM found GROUP BY 1
    )
    SELECT COALESCE(sum(jobs), 0)::bigint AS jobs, COALESCE(sum(failures) - sum(jobs), 0)::bigint AS messages,
           COALESCE(max(newest), 0) AS newest,
           COALESCE(sum(jobs) - sum(known), 0)::bigint AS without_amount,
           COALESCE(json_object_agg(currency, total::text ORDER BY known DESC, currency) FILTER (WHERE known > 0),
                    CAST('{{}}' AS json)) AS amounts,
           (SELECT count(tenant) FROM (SELECT tenant FROM found GROUP BY 1) different) AS tenants
    FROM parts
"""
_PLAN = plan_in_sql(
    outcome_unknown="u.outcome_unknown",
    look_up_first="u.look_up_first",
    has_reference="u.creditor_reference IS NOT NULL",
)
# Most dead jobs have one plan: the API definitely rejected them. The others have their own index, and are read only if
# there are any.
_MAY_EXIST = "u.state = 'dead' AND (u.outcome_unknown OR u.look_up_first)"
_ANY_MAY_EXIST = text(f"SELECT EXISTS (SELECT FROM jobs u WHERE {_MAY_EXIST})")
_PLANS = f"""
    SELECT {_PLAN} AS plan, count(*) AS jobs
    FROM {{source}}
    JOIN jobs u ON u.id = d.job_id AND {_MAY_EXIST}
    WHERE d.resolved_at IS NULL AND d.id <= :newest {{conditions}}
    GROUP BY 1
"""
_TO_ASK_FOR = f"""
    SELECT u.id
    FROM {{source}}
    JOIN jobs u ON u.id = d.job_id AND {_MAY_EXIST}
    WHERE d.resolved_at IS NULL AND d.id <= :newest AND {_PLAN} = '{ReplayPlan.ASK_A_PERSON}' {{conditions}}
"""
_PAGE = """
    SELECT d.id AS dead_letter_id, d.job_id, j.external_tenant_id, j.state,
           COALESCE(j.outcome_unknown, false) AS outcome_unknown, COALESCE(j.look_up_first, false) AS look_up_first,
           j.creditor_reference
    FROM {source}
    WHERE d.resolved_at IS NULL AND d.id > :after AND d.id <= :newest {conditions}
    ORDER BY d.id LIMIT :limit
"""
_BY_ID = text(
    """
    SELECT d.id AS dead_letter_id, j.id AS job_id, j.external_tenant_id, j.state, j.outcome_unknown,
           j.look_up_first, j.creditor_reference
    FROM jobs j LEFT JOIN dead_letters d ON d.job_id = j.id AND d.resolved_at IS NULL
    WHERE j.id = ANY(:ids)
    """
)
_NO_BOUND = 2**63 - 1


def selected(connection: Connection, wanted: FailureFilter, *, newest: int = _NO_BOUND) -> Selected:
    """Count the matching open failures up to `newest`, and the replay plans of their jobs."""
    conditions, parameters = conditions_of(wanted)
    parameters["newest"] = newest
    row = connection.execute(text(_SELECTED.format(source=OPEN_FAILURES, conditions=conditions)), parameters).one()
    plans: dict[ReplayPlan, int] = {}
    if row.jobs and connection.execute(_ANY_MAY_EXIST).scalar_one():
        statement = text(_PLANS.format(source=OPEN_FAILURES, conditions=conditions))
        plans = {ReplayPlan(plan): jobs for plan, jobs in connection.execute(statement, parameters)}
    if certain := row.jobs - sum(plans.values()):
        plans[ReplayPlan.NEW_KEY] = certain
    return Selected(
        jobs=row.jobs,
        tenants=row.tenants,
        messages=row.messages,
        plans=plans,
        newest=row.newest,
        amounts=row.amounts,
        without_amount=row.without_amount,
    )


def page_of_targets(
    connection: Connection, wanted: FailureFilter, *, after: int, newest: int, limit: int
) -> list[Target]:
    """The matching open failures by ascending dead letter id: those after `after`, up to and including `newest`."""
    conditions, parameters = conditions_of(wanted)
    rows = connection.execute(
        text(_PAGE.format(source=OPEN_FAILURES, conditions=conditions)),
        {**parameters, "after": after, "newest": newest, "limit": limit},
    )
    return [Target(**row._mapping) for row in rows]


def jobs_to_ask_for(connection: Connection, wanted: FailureFilter, *, newest: int) -> list[UUID]:
    """Those of the dead jobs whose case may exist, and that only a person can look for in Debitura."""
    conditions, parameters = conditions_of(wanted)
    statement = text(_TO_ASK_FOR.format(source=OPEN_FAILURES, conditions=conditions))
    return list(connection.execute(statement, {**parameters, "newest": newest}).scalars())


def targets_by_id(connection: Connection, ids: Sequence[UUID]) -> list[Target]:
    """The existing jobs among these ids, in any state, in the same order."""
    found = {row.job_id: Target(**row._mapping) for row in connection.execute(_BY_ID, {"ids": list(ids)})}
    return [found[job_id] for job_id in dict.fromkeys(ids) if job_id in found]
