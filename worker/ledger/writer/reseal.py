"""Replace encrypted texts, if they are still what was read, and wake jobs whose key has come back.

Lock rows first, and skip those that are locked: a rekey waits for no other transaction and can't be part of a deadlock.
Leave jobs on the queue and under way alone: a worker would mistake a locked one for another worker's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.case.encryption import FINGERPRINT, PREFIX
from worker.case.protection import HIDDEN, Kept

NO_JOB = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Found:
    """One text that is not encrypted as it should be. `key` is where to continue from."""

    key: tuple[Any, ...]
    owner: Any
    """The job's id, or the dead letter's."""
    text: str


@dataclass(frozen=True, slots=True)
class FoundJob(Found):
    """A job's case, with the columns that repeat parts of it."""

    external_tenant_id: str
    idempotency_key: str
    creditor_reference: str | None
    amount: Any
    currency: str | None


# `wrong`: encrypted under another key or not at all, or readable although it should be hidden.
_JOBS = text(
    """
    SELECT id, case_body, external_tenant_id, idempotency_key, creditor_reference, amount, currency FROM jobs
    WHERE id > :after AND purged_at IS NULL AND state NOT IN ('queued', 'submitting')
      AND (left(case_body, length(:prefix)) <> :prefix
           OR :hides_reference AND (creditor_reference IS NOT NULL OR NOT starts_with(idempotency_key, :hidden))
           OR :hides_amount AND (amount IS NOT NULL OR currency IS NOT NULL))
    ORDER BY id LIMIT :chunk FOR UPDATE SKIP LOCKED
    """
)
_VERSIONS = text(
    """
    SELECT v.job_id, v.number, v.case_body FROM case_versions v
    WHERE (v.job_id, v.number) > (:after, :number) AND left(v.case_body, length(:prefix)) <> :prefix
    ORDER BY v.job_id, v.number LIMIT :chunk FOR UPDATE SKIP LOCKED
    """
)
_MESSAGES = text(
    """
    SELECT id, detail ->> 'sent' AS sent FROM dead_letters
    WHERE id > :after AND job_id IS NULL AND detail ? 'sent'
      AND left(detail ->> 'sent', length(:prefix)) <> :prefix
    ORDER BY id LIMIT :chunk FOR UPDATE SKIP LOCKED
    """
)
_PUT_JOBS = text(
    """
    UPDATE jobs j
    SET case_body = r.case_body, idempotency_key = r.idempotency_key, creditor_reference = r.creditor_reference,
        amount = CASE WHEN r.hides_amount THEN NULL ELSE j.amount END,
        currency = CASE WHEN r.hides_amount THEN NULL ELSE j.currency END
    FROM jsonb_to_recordset(:rows) AS r (id uuid, case_body text, idempotency_key text, creditor_reference text,
                                         hides_amount boolean)
    WHERE j.id = r.id AND j.purged_at IS NULL
    """
).bindparams(bindparam("rows", type_=JSONB))
_PUT_VERSIONS = text(
    """
    UPDATE case_versions v SET case_body = r.case_body
    FROM jsonb_to_recordset(:rows) AS r (job_id uuid, number int, case_body text)
    WHERE v.job_id = r.job_id AND v.number = r.number
    """
).bindparams(bindparam("rows", type_=JSONB))
_PUT_MESSAGES = text(
    """
    UPDATE dead_letters d SET detail = jsonb_set(d.detail, '{sent}', to_jsonb(r.sent))
    FROM jsonb_to_recordset(:rows) AS r (id bigint, sent text)
    WHERE d.id = r.id
    """
).bindparams(bindparam("rows", type_=JSONB))


def jobs_to_seal(
    connection: Connection, after: UUID, *, newest: str, hides_reference: bool, hides_amount: bool, chunk: int
) -> list[FoundJob]:
    """Lock and read the next jobs whose case is not encrypted with the newest key, or readable but should be hidden."""
    rows = connection.execute(
        _JOBS,
        {
            "after": after, "prefix": f"{PREFIX}{newest}:", "hidden": HIDDEN, "chunk": chunk,
            "hides_reference": hides_reference, "hides_amount": hides_amount,
        },
    )  # fmt: skip
    return [
        FoundJob((r.id,), r.id, r.case_body, r.external_tenant_id, r.idempotency_key, r.creditor_reference, r.amount,
                 r.currency)
        for r in rows
    ]  # fmt: skip


def versions_to_seal(connection: Connection, after: UUID, number: int, *, newest: str, chunk: int) -> list[Found]:
    """Do the same for the versions of corrected cases."""
    parameters = {"after": after, "number": number, "prefix": f"{PREFIX}{newest}:", "chunk": chunk}
    rows = connection.execute(_VERSIONS, parameters)
    return [Found((row.job_id, row.number), row.job_id, row.case_body) for row in rows]


def messages_to_seal(connection: Connection, after: int, *, newest: str, chunk: int) -> list[Found]:
    """Do the same for the texts of unreadable messages."""
    rows = connection.execute(_MESSAGES, {"after": after, "prefix": f"{PREFIX}{newest}:", "chunk": chunk})
    return [Found((row.id,), row.id, row.sent) for row in rows]


def put_jobs(connection: Connection, made: Sequence[tuple[UUID, Kept]], *, hides_amount: bool) -> None:
    """Store the new values of locked jobs."""
    rows = [
        {
            "id": str(job_id), "case_body": kept.case_body, "idempotency_key": kept.idempotency_key,
            "creditor_reference": kept.creditor_reference, "hides_amount": hides_amount,
        }
        for job_id, kept in made
    ]  # fmt: skip
    connection.execute(_PUT_JOBS, {"rows": rows})


def put_versions(connection: Connection, made: Sequence[tuple[UUID, int, str]]) -> None:
    """Store the new texts of locked versions: job, number, text."""
    rows = [{"job_id": str(job), "number": number, "case_body": body} for job, number, body in made]
    connection.execute(_PUT_VERSIONS, {"rows": rows})


def put_messages(connection: Connection, made: Sequence[tuple[int, str]]) -> None:
    """Store the new texts of locked messages: dead letter, text."""
    connection.execute(_PUT_MESSAGES, {"rows": [{"id": number, "sent": sent} for number, sent in made]})


#: The most jobs to wake in one statement.
CHUNK = 500

_WAKE = text(
    """
    WITH openable AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE state = 'waiting' AND due_at > now() AND wait_reason = 'key_missing'
          AND starts_with(case_body, :prefix) AND substr(case_body, length(:prefix) + 1, :size) = ANY(:keys)
        ORDER BY due_at LIMIT :chunk FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs j SET due_at = now() FROM openable WHERE j.id = openable.id
    """
)


def wake_decryptable(connection: Connection, keys: Sequence[str]) -> bool:
    """Make some of the jobs due that wait for one of these keys (fingerprints). Returns whether more may be waiting."""
    parameters = {"prefix": PREFIX, "size": FINGERPRINT, "keys": list(keys)}
    return connection.execute(_WAKE, parameters | {"chunk": CHUNK}).rowcount == CHUNK
