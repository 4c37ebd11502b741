"""A job's case as it is sent, and the wordings that it had before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from worker.errors import JobNotFound


@dataclass(frozen=True, slots=True)
class CaseVersion:
    """One wording of a case."""

    number: int
    """1 is what the sender handed over."""
    case_body: str
    """JSON text. It holds personal data: mask it, or write down who looked at it."""
    created_at: datetime
    edited_by: str | None
    """None: the sender."""
    note: str | None


_CASE = text("SELECT case_body, created_at FROM jobs WHERE id = :id")
_VERSIONS = text(
    "SELECT number, case_body, created_at, edited_by, note FROM case_versions WHERE job_id = :id ORDER BY number"
)


def case_versions(connection: Connection, job_id: UUID) -> list[CaseVersion]:
    """All wordings of the job's case, the sender's first; the last one is what is sent. Raises JobNotFound."""
    job = connection.execute(_CASE, {"id": job_id}).one_or_none()
    if job is None:
        raise JobNotFound(f"there is no job {job_id} in this database")
    kept = [CaseVersion(**row._mapping) for row in connection.execute(_VERSIONS, {"id": job_id})]
    return kept or [CaseVersion(1, job.case_body, job.created_at, None, None)]
