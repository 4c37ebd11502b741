"""All data that the ledger stores about one tenant, for data subject requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

PAGE = 200


@dataclass(frozen=True, slots=True)
class SubjectJob:
    """One job with all versions of its case, as stored."""

    id: UUID
    external_tenant_id: str
    state: str
    key_digest: bytes
    creditor_reference: str | None
    purged_at: datetime | None
    case_body: str
    earlier: list[str]
    """All stored versions, if the case was corrected."""


@dataclass(frozen=True, slots=True)
class SubjectMessage:
    """One unreadable message, as stored."""

    dead_letter_id: int
    sent: str
    resolved: bool


# Page by key, not by id: an index covers tenant and key.
_JOBS = text(
    """
    SELECT j.id, j.external_tenant_id, j.state, j.idempotency_key,
           job_key(j.external_tenant_id, j.idempotency_key) AS key_digest, j.creditor_reference, j.purged_at,
           j.case_body,
           ARRAY(SELECT v.case_body FROM case_versions v WHERE v.job_id = j.id ORDER BY v.number) AS earlier
    FROM jobs j WHERE j.external_tenant_id = :tenant AND j.idempotency_key > :after
    ORDER BY j.external_tenant_id, j.idempotency_key LIMIT :page
    """
)
_MESSAGES = text(
    """
    SELECT id, detail ->> 'sent' AS sent, resolved_at IS NOT NULL AS resolved FROM dead_letters
    WHERE job_id IS NULL AND detail ? 'sent' AND id > :after ORDER BY id LIMIT :page
    """
)


def tenant_jobs(connection: Connection, tenant: str) -> Iterator[SubjectJob]:
    """The tenant's jobs, read page by page."""
    after = ""
    while True:
        rows = connection.execute(_JOBS, {"tenant": tenant, "after": after, "page": PAGE}).all()
        for row in rows:
            yield SubjectJob(
                row.id, row.external_tenant_id, row.state, bytes(row.key_digest), row.creditor_reference, row.purged_at,
                row.case_body, list(row.earlier),
            )  # fmt: skip
        if len(rows) < PAGE:
            return
        after = rows[-1].idempotency_key


def kept_messages(connection: Connection) -> Iterator[SubjectMessage]:
    """All unreadable messages whose content is still stored, of any tenant."""
    after = 0
    while rows := connection.execute(_MESSAGES, {"after": after, "page": PAGE}).all():
        yield from (SubjectMessage(row.id, row.sent, row.resolved) for row in rows)
        after = rows[-1].id


def job_rows(connection: Connection, job_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """Every row of a job, by table and column; case texts as stored."""
    tables = {
        "jobs": "SELECT * FROM jobs WHERE id = :id",
        "case_versions": "SELECT * FROM case_versions WHERE job_id = :id ORDER BY number",
        "attempts": "SELECT * FROM attempts WHERE job_id = :id ORDER BY number",
        "dead_letters": "SELECT id, reason, invalid_client_link, detail, solution_url, created_at, resolved_at,"
        " resolution, resolved_by, note FROM dead_letters WHERE job_id = :id ORDER BY id",
        "audit_log": "SELECT * FROM audit_log WHERE job_id = :id ORDER BY id",
    }
    return {
        table: [dict(row) for row in connection.execute(text(statement), {"id": job_id}).mappings()]
        for table, statement in tables.items()
    }
