"""One job's history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.errors import JobNotFound


@dataclass(frozen=True, slots=True)
class Story:
    """Everything in the ledger about one job."""

    job: dict[str, Any]
    attempts: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    audit: list[dict[str, Any]]
    holds: list[dict[str, Any]]
    """The last `HOLDS` past pauses of the fleet while this job was waiting. `at` is when the pause began to affect the
    job."""


#: Past pauses shown for one job at most.
HOLDS = 100
# A job waits to be sent from its enqueue or replay until it dies or is done.
_HOLDS = f"""
    WITH living AS (
        SELECT began, COALESCE(
            (SELECT min(created_at) FROM dead_letters WHERE job_id = :id AND created_at > began),
            (SELECT finalized_at FROM jobs WHERE id = :id), now()) AS ended
        FROM (SELECT created_at FROM jobs WHERE id = :id
              UNION ALL SELECT resolved_at FROM dead_letters WHERE job_id = :id AND resolution = 'replayed') AS l(began)
    )
    SELECT held.* FROM (
        SELECT name, since, ended_at, GREATEST(since, began) AS at
        FROM living JOIN past_holds ON since < ended AND ended_at > began ORDER BY at DESC LIMIT {HOLDS}
    ) held ORDER BY at
"""


def story(connection: Connection, job_id: UUID) -> Story:
    """One job with its attempts, dead letters and audit entries. Raises JobNotFound."""

    def read(statement: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(statement), {"id": job_id}).mappings()]

    jobs = read(
        "SELECT id, external_tenant_id, idempotency_key, creditor_reference, amount, currency, state, priority, round,"
        " due_at, attempt_count, request_count, next_trigger, submission_key, outcome_unknown, lease_owner,"
        " lease_until, queued_at, created_at, finalized_at, case_id, case_reference, last_error, purged_at,"
        " starts_with(case_body, 'sealed1:') AS sealed, look_up_first, wait_reason"
        " FROM jobs WHERE id = :id"
    )
    if not jobs:
        raise JobNotFound(f"there is no job {job_id} in this database")
    return Story(
        jobs[0],
        read("SELECT * FROM attempts WHERE job_id = :id ORDER BY number"),
        read(
            "SELECT id, job_id, reason, invalid_client_link, detail, solution_url, created_at, resolved_at, resolution,"
            " resolved_by, note, cause FROM dead_letters WHERE job_id = :id ORDER BY id"
        ),
        read("SELECT * FROM audit_log WHERE job_id = :id ORDER BY id"),
        read(_HOLDS),
    )


def change_tag(connection: Connection, job_id: UUID) -> str:
    """A tag that changes whenever the job changes state or sends a request. Raises JobNotFound."""
    result = connection.execute(text("SELECT state || '-' || request_count FROM jobs WHERE id = :id"), {"id": job_id})
    found: str | None = result.scalar()
    if found is None:
        raise JobNotFound(f"there is no job {job_id} in this database")
    return found
