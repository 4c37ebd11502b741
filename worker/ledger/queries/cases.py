"""A job's case versions, the encryption keys in use, and what a purge would remove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.case.encryption import FINGERPRINT, PREFIX
from worker.errors import JobNotFound
from worker.ledger.writer.purge import Purged


@dataclass(frozen=True, slots=True)
class CaseVersion:
    """One version of a case."""

    number: int
    """1 is the sender's original."""
    case_body: str
    """JSON text with personal data: mask it, or audit the access."""
    created_at: datetime
    edited_by: str | None
    """None for the sender."""
    note: str | None


_CASE = text("SELECT case_body, created_at FROM jobs WHERE id = :id")
_VERSIONS = text(
    "SELECT number, case_body, created_at, edited_by, note FROM case_versions WHERE job_id = :id ORDER BY number"
)


def case_versions(connection: Connection, job_id: UUID) -> list[CaseVersion]:
    """All versions of the job's case, oldest first; the last one is sent. Raises JobNotFound."""
    job = connection.execute(_CASE, {"id": job_id}).one_or_none()
    if job is None:
        raise JobNotFound(f"there is no job {job_id} in this database")
    kept = [CaseVersion(**row._mapping) for row in connection.execute(_VERSIONS, {"id": job_id})]
    return kept or [CaseVersion(1, job.case_body, job.created_at, None, None)]


#: The key name of texts that are not encrypted.
PLAIN = "none"
PAGE = 5000

# Read only the beginning of the text: it names the key.
_KEY = "CASE WHEN starts_with({0}, :prefix) THEN substr({0}, length(:prefix) + 1, :size) ELSE :plain END AS key"
_JOBS = text(
    f"""
    SELECT id AS at, {_KEY.format("left(case_body, 24)")} FROM jobs
    WHERE id > :after AND purged_at IS NULL ORDER BY id LIMIT :page
    """
)
_OTHERS = (
    text(f"SELECT {_KEY.format('left(case_body, 24)')}, count(*) AS texts FROM case_versions GROUP BY 1"),
    text(
        f"""
        SELECT {_KEY.format("left(detail ->> 'sent', 24)")}, count(*) AS texts FROM dead_letters
        WHERE job_id IS NULL AND detail ? 'sent' GROUP BY 1
        """
    ),
)
_UNDER_WAY = text(
    f"""
    SELECT {_KEY.format("left(case_body, 24)")}, count(*) AS texts FROM (
        SELECT case_body FROM jobs WHERE state = 'waiting' ORDER BY due_at LIMIT 2000) waiting GROUP BY 1
    """
)


def keys_in_use(connection: Connection) -> Iterator[Counter[str]]:
    """Count texts per encryption key (PLAIN for none): one counter per page of jobs, then those of all other texts."""
    named: dict[str, Any] = {"prefix": PREFIX, "size": FINGERPRINT, "plain": PLAIN}
    after = UUID(int=0)
    while True:
        rows = connection.execute(_JOBS, named | {"after": after, "page": PAGE}).all()
        yield Counter(row.key for row in rows)
        if len(rows) < PAGE:
            break
        after = rows[-1].at
    for statement in _OTHERS:
        yield Counter({row.key: row.texts for row in connection.execute(statement, named)})


def keys_waited_for(connection: Connection) -> Counter[str]:
    """Count the keys of up to 2,000 waiting jobs: a job whose key is missing is among them."""
    named = {"prefix": PREFIX, "size": FINGERPRINT, "plain": PLAIN}
    return Counter({row.key: row.texts for row in connection.execute(_UNDER_WAY, named)})


_DUE = text(
    """
    SELECT (SELECT count(*) FROM jobs WHERE finalized_at IS NOT NULL AND purged_at IS NULL
            AND finalized_at < now() - make_interval(secs => :age)) AS jobs,
           (SELECT count(*) FROM dead_letters WHERE job_id IS NULL AND detail ? 'sent'
            AND resolved_at < now() - make_interval(secs => :age)) AS messages
    """
)


def due(connection: Connection, *, age: float) -> Purged:
    """What a purge of data that has been final for `age` seconds would remove."""
    row = connection.execute(_DUE, {"age": age}).one()
    return Purged(row.jobs, row.messages)


def purged_today(connection: Connection) -> bool:
    """Whether today's (UTC) nightly purge has finished."""
    statement = "SELECT COALESCE(purged_on >= (now() AT TIME ZONE 'UTC')::date, false) FROM dispatcher WHERE id = 1"
    return bool(connection.execute(text(statement)).scalar_one())
