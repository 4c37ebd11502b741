"""What a replay or a discard acts on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.queries.failures import FailureFilter, conditions_of


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


_SELECTED = """
    SELECT count(j.id) AS jobs, count(DISTINCT j.external_tenant_id) AS tenants,
           count(*) FILTER (WHERE d.job_id IS NULL) AS messages,
           count(*) FILTER (WHERE NOT j.outcome_unknown) AS outcome_known,
           count(*) FILTER (WHERE j.outcome_unknown AND j.creditor_reference IS NOT NULL) AS can_be_looked_up,
           count(*) FILTER (WHERE j.outcome_unknown AND j.creditor_reference IS NULL) AS cannot_be_looked_up,
           COALESCE(max(d.id), 0) AS newest
    FROM dead_letters d LEFT JOIN jobs j ON j.id = d.job_id
    WHERE d.resolved_at IS NULL {conditions}
"""
_PAGE = """
    SELECT d.id AS dead_letter_id, d.job_id, j.external_tenant_id, j.state,
           COALESCE(j.outcome_unknown, false) AS outcome_unknown, j.creditor_reference
    FROM dead_letters d LEFT JOIN jobs j ON j.id = d.job_id
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


def selected(connection: Connection, wanted: FailureFilter) -> Selected:
    """Count the open failures that fit, and how a replay would treat them."""
    conditions, parameters = conditions_of(wanted)
    row = connection.execute(text(_SELECTED.format(conditions=conditions)), parameters).one()
    return Selected(**row._mapping)


def page_of_targets(
    connection: Connection, wanted: FailureFilter, *, after: int, newest: int, limit: int
) -> list[Target]:
    """The open failures that fit, by ascending dead letter: those after `after`, up to and including `newest`."""
    conditions, parameters = conditions_of(wanted)
    rows = connection.execute(
        text(_PAGE.format(conditions=conditions)), {**parameters, "after": after, "newest": newest, "limit": limit}
    )
    return [Target(**row._mapping) for row in rows]


def targets_by_id(connection: Connection, ids: Sequence[UUID]) -> list[Target]:
    """Those of the jobs that exist, in whatever state, in the order of the ids."""
    found = {row.job_id: Target(**row._mapping) for row in connection.execute(_BY_ID, {"ids": list(ids)})}
    return [found[job_id] for job_id in dict.fromkeys(ids) if job_id in found]
