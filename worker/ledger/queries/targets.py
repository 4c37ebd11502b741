"""What a replay or a discard acts on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.queries.filters import OPEN_FAILURES, FailureFilter, conditions_of


@dataclass(frozen=True, slots=True)
class Target:
    """One job, or one unreadable message, that somebody wants to act on."""

    dead_letter_id: int | None
    """Its open dead letter; None for a job that is not dead."""
    job_id: UUID | None
    external_tenant_id: str | None
    state: str | None
    outcome_unknown: bool
    creditor_reference: str | None


@dataclass(frozen=True, slots=True)
class Selected:
    """What fits a filter, in numbers."""

    jobs: int
    tenants: int
    messages: int
    """Unreadable messages: dead letters without a job."""
    outcome_known: int
    """Jobs whose replay gets a new submission key; the two below keep theirs."""
    can_be_looked_up: int
    cannot_be_looked_up: int
    newest: int
    """The highest dead letter's id: what dies later does not belong to the selection."""
    amounts: dict[str, str] = field(default_factory=dict)
    """The sum by currency, each a plain decimal number; `?` for amounts whose currency is not known. The currency
    of most jobs first."""
    without_amount: int = 0
    """Jobs whose amount is not known: they are in none of the sums."""


_SELECTED = """
    WITH found AS MATERIALIZED (
        SELECT d.id, j.id AS job_id, j.external_tenant_id AS tenant, COALESCE(j.currency, '?') AS currency, j.amount,
               j.outcome_unknown
        FROM {source}
        WHERE d.resolved_at IS NULL AND d.id <= :newest {conditions}
    ), parts AS (
        SELECT currency, count(*) AS failures, count(job_id) AS jobs,
               count(*) FILTER (WHERE outcome_unknown) AS unknown, count(amount) AS known, sum(amount) AS total,
               max(id) AS newest
        FROM found GROUP BY 1
    )
    SELECT COALESCE(sum(jobs), 0)::bigint AS jobs, COALESCE(sum(failures) - sum(jobs), 0)::bigint AS messages,
           COALESCE(sum(jobs) - sum(unknown), 0)::bigint AS outcome_known,
           COALESCE(sum(unknown), 0)::bigint AS unknown, COALESCE(max(newest), 0) AS newest,
           COALESCE(sum(jobs) - sum(known), 0)::bigint AS without_amount,
           COALESCE(json_object_agg(currency, total::text ORDER BY known DESC, currency) FILTER (WHERE known > 0),
                    CAST('{{}}' AS json)) AS amounts,
           (SELECT count(tenant) FROM (SELECT tenant FROM found GROUP BY 1) different) AS tenants
    FROM parts
"""
# Read only where there are jobs with an unknown outcome; those that can be looked up have an index of their own.
_LOOKED_UP = """
    SELECT count(*)
    FROM {source}
    JOIN jobs u ON u.id = d.job_id AND u.state = 'dead' AND u.outcome_unknown AND u.creditor_reference IS NOT NULL
    WHERE d.resolved_at IS NULL AND d.id <= :newest {conditions}
"""
_PAGE = """
    SELECT d.id AS dead_letter_id, d.job_id, j.external_tenant_id, j.state,
           COALESCE(j.outcome_unknown, false) AS outcome_unknown, j.creditor_reference
    FROM {source}
    WHERE d.resolved_at IS NULL AND d.id > :after AND d.id <= :newest {conditions}
    ORDER BY d.id LIMIT :limit
"""
_BY_ID = text(
    """
    SELECT d.id AS dead_letter_id, j.id AS job_id, j.external_tenant_id, j.state, j.outcome_unknown,
           j.creditor_reference
    FROM jobs j LEFT JOIN dead_letters d ON d.job_id = j.id AND d.resolved_at IS NULL
    WHERE j.id = ANY(:ids)
    """
)
_NO_BOUND = 2**63 - 1


def selected(connection: Connection, wanted: FailureFilter, *, newest: int = _NO_BOUND) -> Selected:
    """Count the open failures that fit, and how a replay would treat them; none whose dead letter is after `newest`."""
    conditions, parameters = conditions_of(wanted)
    parameters["newest"] = newest
    row = connection.execute(text(_SELECTED.format(source=OPEN_FAILURES, conditions=conditions)), parameters).one()
    looked_up = 0
    if row.unknown:
        statement = _LOOKED_UP.format(source=OPEN_FAILURES, conditions=conditions)
        looked_up = connection.execute(text(statement), parameters).scalar_one()
    return Selected(
        jobs=row.jobs,
        tenants=row.tenants,
        messages=row.messages,
        outcome_known=row.outcome_known,
        can_be_looked_up=looked_up,
        cannot_be_looked_up=row.unknown - looked_up,
        newest=row.newest,
        amounts=row.amounts,
        without_amount=row.without_amount,
    )


def page_of_targets(
    connection: Connection, wanted: FailureFilter, *, after: int, newest: int, limit: int
) -> list[Target]:
    """The open failures that fit, by ascending dead letter: those after `after`, up to and including `newest`."""
    conditions, parameters = conditions_of(wanted)
    rows = connection.execute(
        text(_PAGE.format(source=OPEN_FAILURES, conditions=conditions)),
        {**parameters, "after": after, "newest": newest, "limit": limit},
    )
    return [Target(**row._mapping) for row in rows]


def targets_by_id(connection: Connection, ids: Sequence[UUID]) -> list[Target]:
    """Those of the jobs that exist, in whatever state, in the order of the ids."""
    found = {row.job_id: Target(**row._mapping) for row in connection.execute(_BY_ID, {"ids": list(ids)})}
    return [found[job_id] for job_id in dict.fromkeys(ids) if job_id in found]
