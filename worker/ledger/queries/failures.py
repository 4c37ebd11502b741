"""List open failures, and find jobs in any state by reference or id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.queries.filters import OPEN_FAILURES, FailureFilter, conditions_of


@dataclass(frozen=True, slots=True)
class Failure:
    """One open dead letter, with its job's fields for the report."""

    dead_letter_id: int
    job_id: UUID | None
    external_tenant_id: str | None
    creditor_reference: str | None
    amount: Decimal | None
    currency: str | None
    reason: str
    invalid_client_link: bool
    http_status: int | None
    error_type: str | None
    message: str | None
    solution_url: str | None
    outcome_unknown: bool
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FailurePage:
    """A page of failures, with the ids to request the pages around it."""

    failures: list[Failure]
    before: int | None
    """`before` for the previous page; None on the first page."""
    after: int | None
    """`after` for the next page; None on the last page."""


# Keyset pagination by the dead letter's id keeps every page as cheap as the first.
_FAILURES = """
    SELECT d.id AS dead_letter_id, d.job_id, j.external_tenant_id, j.creditor_reference, j.amount, j.currency, d.reason,
           d.invalid_client_link, d.http_status, d.detail ->> 'type' AS error_type,
           d.detail ->> 'message' AS message, d.solution_url, COALESCE(j.outcome_unknown, false) AS outcome_unknown,
           COALESCE(j.request_count, 0) AS attempts, d.created_at
    FROM {source}
    WHERE d.resolved_at IS NULL AND d.id {beyond} :id {conditions}
    ORDER BY d.id {direction} LIMIT :limit
"""
_HIGHEST = 2**63 - 1


def failures(connection: Connection, wanted: FailureFilter, *, page: int = 1000) -> Iterator[Failure]:
    """The open failures, oldest first, read page by page."""
    after = 0
    while True:
        rows = _read(connection, wanted, after, page, newest_first=False)
        yield from rows
        if len(rows) < page:
            return
        after = rows[-1].dead_letter_id


def failure_page(
    connection: Connection,
    wanted: FailureFilter,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int = 50,
    newest_first: bool = True,
) -> FailurePage:
    """One page of the matching open failures, by dead letter id.

    `after`: the last id of the previous page; `before`: the first id of the next page. Give one of them, or neither for
    the first page.
    """
    backwards = before is not None
    start = before if backwards else after
    rows = _read(connection, wanted, start, limit + 1, newest_first=newest_first is not backwards)
    more, rows = len(rows) > limit, rows[:limit]
    if backwards:
        rows.reverse()
    has_before = more if backwards else after is not None
    has_after = True if backwards else more
    return FailurePage(
        rows,
        before=rows[0].dead_letter_id if rows and has_before else None,
        after=rows[-1].dead_letter_id if rows and has_after else None,
    )


def _read(
    connection: Connection, wanted: FailureFilter, start: int | None, limit: int, *, newest_first: bool
) -> list[Failure]:
    conditions, parameters = conditions_of(wanted)
    statement = _FAILURES.format(
        source=OPEN_FAILURES,
        conditions=conditions,
        beyond="<" if newest_first else ">",
        direction="DESC" if newest_first else "",
    )
    start = (_HIGHEST if newest_first else 0) if start is None else start
    rows = connection.execute(text(statement), {**parameters, "id": start, "limit": limit})
    return [Failure(**row._mapping) for row in rows]


@dataclass(frozen=True, slots=True)
class UnreadableMessage:
    """An unreadable message that became a dead letter."""

    dead_letter_id: int
    detail: dict[str, Any]
    """`message`, `queue`, `message_id`, and `sent`: the content, which may hold personal data."""
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


_MESSAGE = text(
    "SELECT id AS dead_letter_id, detail, created_at, resolved_at, resolved_by, note FROM dead_letters"
    " WHERE id = :id AND job_id IS NULL"
)


def unreadable_message(connection: Connection, dead_letter_id: int) -> UnreadableMessage | None:
    """The unreadable message of a dead letter; None if there is none or it belongs to a job."""
    row = connection.execute(_MESSAGE, {"id": dead_letter_id}).one_or_none()
    return UnreadableMessage(**row._mapping) if row else None


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job found by a search."""

    id: UUID
    external_tenant_id: str
    creditor_reference: str | None
    amount: Decimal | None
    currency: str | None
    state: str
    created_at: datetime


_COLUMNS = "id, external_tenant_id, creditor_reference, amount, currency, state, created_at"
_BY_ID = text(f"SELECT {_COLUMNS} FROM jobs WHERE id = :id")
_BY_REFERENCE = text(
    f"""
    SELECT {_COLUMNS} FROM jobs
    WHERE creditor_reference IS NOT NULL AND left(creditor_reference, 50) = left(:reference, 50)
      AND creditor_reference = :reference AND (CAST(:tenant AS text) IS NULL OR external_tenant_id = :tenant)
    ORDER BY created_at DESC, id DESC LIMIT :limit
    """
)


def find_jobs(connection: Connection, wanted: str, *, tenant: str | None = None, limit: int = 50) -> list[FoundJob]:
    """The job with this id, and the jobs with exactly this creditorReference, newest first."""
    parameters = {"reference": wanted, "tenant": tenant, "limit": limit}
    found = [FoundJob(**row._mapping) for row in connection.execute(_BY_REFERENCE, parameters)]
    try:
        job_id = UUID(wanted)
    except ValueError:
        return found
    by_id = [FoundJob(**row._mapping) for row in connection.execute(_BY_ID, {"id": job_id})]
    return [job for job in by_id if tenant in (None, job.external_tenant_id) and job not in found] + found
