"""Reading the ledger: counts for `status`, one job's story for `show`, open failures for the report. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.errors import JobNotFound
from worker.ledger.states import Reason, State


@dataclass(frozen=True, slots=True)
class Counts:
    """The state of the pipeline in numbers."""

    jobs: dict[str, int]
    open_dead_letters: int
    invalid_client_links: int
    by_reason: dict[str, int]
    oldest_pending_seconds: float | None
    holds: list[dict[str, Any]]
    leader: str | None


def counts(connection: Connection) -> Counts:
    """Jobs by state, open dead letters by reason, the age of the oldest pending job in seconds, and the holds."""
    jobs = dict.fromkeys((state.value for state in State), 0)
    jobs |= {
        row.state: row.n for row in connection.execute(text("SELECT state, count(*) AS n FROM jobs GROUP BY state"))
    }
    by_reason = {
        row.reason: row.n
        for row in connection.execute(
            text(
                "SELECT reason, count(*) AS n FROM dead_letters WHERE resolved_at IS NULL GROUP BY reason ORDER BY n DESC"
            )
        )
    }
    invalid = by_reason.get(Reason.SECOND_UNAUTHORIZED, 0) + by_reason.get(Reason.CLIENT_LINK_NOT_FOUND, 0)
    oldest = connection.execute(
        text("SELECT EXTRACT(epoch FROM now() - min(created_at))::float8 FROM jobs WHERE state = 'pending'")
    ).scalar()
    holds = connection.execute(
        text("SELECT name, since, until, detail, until > now() AS in_force FROM holds ORDER BY name")
    ).mappings()
    leader = connection.execute(text("SELECT leader FROM dispatcher WHERE lease_until > now()")).scalar()
    return Counts(jobs, sum(by_reason.values()), invalid, by_reason, oldest, [dict(h) for h in holds], leader)


def schema_version(connection: Connection) -> str | None:
    """The database's migration, or None for a database that was never migrated."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


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
    conditions, parameters = _conditions(wanted)
    statement = text(_FAILURES.format(conditions=conditions))
    after = 0
    while True:
        rows = connection.execute(statement, {**parameters, "after": after, "limit": page}).all()
        yield from (Failure(**row._mapping) for row in rows)
        if len(rows) < page:
            return
        after = rows[-1].dead_letter_id


def _conditions(wanted: FailureFilter) -> tuple[str, dict[str, Any]]:
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


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that the ledger knows of one job."""

    job: dict[str, Any]
    attempts: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    audit: list[dict[str, Any]]


def story(connection: Connection, job_id: UUID) -> Story:
    """One job with its attempts, dead letters and what people did. Raises JobNotFound."""

    def read(statement: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(statement), {"id": job_id}).mappings()]

    jobs = read(
        "SELECT id, external_tenant_id, idempotency_key, creditor_reference, amount, currency, state, priority, round,"
        " due_at, attempt_count, request_count, next_trigger, submission_key, outcome_unknown, lease_owner, lease_until,"
        " queued_at, created_at, finalized_at, case_id, case_reference, last_error FROM jobs WHERE id = :id"
    )
    if not jobs:
        raise JobNotFound(f"there is no job {job_id} in this database")
    return Story(
        jobs[0],
        read("SELECT * FROM attempts WHERE job_id = :id ORDER BY number"),
        read("SELECT * FROM dead_letters WHERE job_id = :id ORDER BY id"),
        read("SELECT * FROM audit_log WHERE job_id = :id ORDER BY id"),
    )
