"""The open failures, one by one, and the filter that all commands share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Failure:
    """One open dead letter, with what the report shows of its job."""

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
class FailureFilter:
    """Which open failures: all parts must fit; None and False mean any."""

    tenant: str | None = None
    reason: str | None = None
    invalid_links: bool = False
    since: timedelta | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the audit log."""
        return {
            "tenant": self.tenant,
            "reason": self.reason,
            "invalid_links": self.invalid_links,
            "since_seconds": self.since.total_seconds() if self.since else None,
        }


# Keyset paging by the dead letter's id keeps each page as cheap as the first.
_FAILURES = """
    SELECT d.id AS dead_letter_id, d.job_id, j.external_tenant_id, j.creditor_reference, j.amount, j.currency, d.reason,
           d.invalid_client_link, (d.detail ->> 'status')::int AS http_status, d.detail ->> 'type' AS error_type,
           d.detail ->> 'message' AS message, d.solution_url, COALESCE(j.outcome_unknown, false) AS outcome_unknown,
           COALESCE(j.request_count, 0) AS attempts, d.created_at
    FROM dead_letters d LEFT JOIN jobs j ON j.id = d.job_id
    WHERE d.resolved_at IS NULL AND d.id > :after {conditions}
    ORDER BY d.id LIMIT :limit
"""


def failures(connection: Connection, wanted: FailureFilter, *, page: int = 1000) -> Iterator[Failure]:
    """The open failures, oldest first, read page by page."""
    conditions, parameters = conditions_of(wanted)
    statement = text(_FAILURES.format(conditions=conditions))
    after = 0
    while True:
        rows = connection.execute(statement, {**parameters, "after": after, "limit": page}).all()
        yield from (Failure(**row._mapping) for row in rows)
        if len(rows) < page:
            return
        after = rows[-1].dead_letter_id


def conditions_of(wanted: FailureFilter) -> tuple[str, dict[str, Any]]:
    """The filter as SQL over `dead_letters d LEFT JOIN jobs j`, each part led by AND, and its parameters."""
    parts: list[str] = []
    parameters: dict[str, Any] = {}
    if wanted.tenant is not None:
        parts.append("AND j.external_tenant_id = :tenant")
        parameters["tenant"] = wanted.tenant
    if wanted.reason is not None:
        parts.append("AND d.reason = :reason")
        parameters["reason"] = wanted.reason
    if wanted.invalid_links:
        parts.append("AND d.invalid_client_link")
    if wanted.since is not None:
        parts.append("AND d.created_at >= now() - make_interval(secs => :since)")
        parameters["since"] = wanted.since.total_seconds()
    return " ".join(parts), parameters
