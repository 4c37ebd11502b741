"""Remove the case data of jobs that are done. What stays: states, attempts, dates, amounts, and Debitura's case id.

The idempotency key becomes its digest, by which the same case enqueued again still finds this job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.case.protection import HIDDEN
from worker.ledger.states import AuditAction
from worker.ledger.writer.resolve import Actor

#: What remains of the API's words: the status, and the error type if it is a name and not a sentence.
_BONES = r"""
    jsonb_strip_nulls(jsonb_build_object(
        'status', detail -> 'status', 'attempts', detail -> 'attempts', 'purged', true,
        'type', CASE WHEN detail ->> 'type' ~ '^[A-Za-z_.-]{1,60}$' THEN detail ->> 'type' END))
"""
# Lock each job before its rows are emptied; a purge skips jobs that others have locked, so no process waits for it.
_EMPTY = rf"""
    emptied AS (
        UPDATE jobs j
        SET case_body = '{{}}', creditor_reference = NULL, last_error = NULL, purged_at = now(),
            idempotency_key = :hidden || encode(job_key(j.external_tenant_id, j.idempotency_key), 'hex')
        FROM picked WHERE j.id = picked.id AND j.purged_at IS NULL AND j.finalized_at IS NOT NULL RETURNING j.id
    ), versions AS (
        DELETE FROM case_versions v USING emptied WHERE v.job_id = emptied.id
    ), attempts AS (
        UPDATE attempts a
        SET error_message = NULL,
            error_type = CASE WHEN a.error_type ~ '^[A-Za-z_.-]{{1,60}}$' THEN a.error_type END
        FROM emptied WHERE a.job_id = emptied.id AND (a.error_message IS NOT NULL OR a.error_type IS NOT NULL)
    ), letters AS (
        UPDATE dead_letters d SET detail = {_BONES}, solution_url = NULL
        FROM emptied WHERE d.job_id = emptied.id
    )
"""
_PURGE_DUE = text(
    f"""
    WITH picked AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE finalized_at IS NOT NULL AND purged_at IS NULL AND finalized_at < now() - make_interval(secs => :age)
        ORDER BY finalized_at LIMIT :chunk FOR UPDATE SKIP LOCKED
    ), {_EMPTY}
    SELECT count(*) FROM emptied
    """
)
_ERASE = text(
    f"""
    WITH picked AS MATERIALIZED (
        SELECT id FROM jobs WHERE id = ANY(:ids) AND finalized_at IS NOT NULL AND purged_at IS NULL FOR UPDATE
    ), {_EMPTY}, audited AS (
        INSERT INTO audit_log (actor, action, job_id, detail, note)
        SELECT :actor, '{AuditAction.ERASE}', id, CAST(:detail AS jsonb), :note FROM emptied
    )
    SELECT id FROM emptied
    """
).bindparams(bindparam("detail", type_=JSONB))
_MESSAGES = text(
    f"""
    WITH picked AS MATERIALIZED (
        SELECT id FROM dead_letters
        WHERE job_id IS NULL AND detail ? 'sent' AND resolved_at < now() - make_interval(secs => :age)
        LIMIT :chunk FOR UPDATE SKIP LOCKED
    ), emptied AS (
        UPDATE dead_letters d SET detail = {_BONES} FROM picked WHERE d.id = picked.id RETURNING d.id
    )
    SELECT count(*) FROM emptied
    """
)
_ERASE_MESSAGES = text(
    f"""
    UPDATE dead_letters SET detail = {_BONES}
    WHERE id = ANY(:ids) AND job_id IS NULL AND resolved_at IS NOT NULL RETURNING id
    """
)


@dataclass(frozen=True, slots=True)
class Purged:
    """How much was emptied."""

    jobs: int
    messages: int
    """Unreadable messages that a person had discarded."""


def purge_due(connection: Connection, *, age: float, chunk: int) -> Purged:
    """Empty jobs that have been final for `age` seconds, the oldest first, and messages discarded as long ago.

    At most `chunk` of each; zeros mean that nothing is left to do.
    """
    parameters = {"age": age, "chunk": chunk}
    jobs = connection.execute(_PURGE_DUE, parameters | {"hidden": HIDDEN}).scalar_one()
    return Purged(jobs, connection.execute(_MESSAGES, parameters).scalar_one())


def erase_jobs(connection: Connection, ids: Sequence[UUID], actor: Actor, detail: dict[str, Any]) -> list[UUID]:
    """Empty those of the jobs that are final, and audit each. Returns their ids."""
    parameters = {"ids": list(ids), "hidden": HIDDEN, "actor": actor.name, "note": actor.note, "detail": detail}
    return list(connection.execute(_ERASE, parameters).scalars())


def erase_messages(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Empty those of the unreadable messages that are resolved, by their dead letters' ids. Returns these."""
    return list(connection.execute(_ERASE_MESSAGES, {"ids": list(ids)}).scalars())


def note_purged_today(connection: Connection) -> date:
    """Record that today's nightly purge is complete. Returns the day."""
    statement = "UPDATE dispatcher SET purged_on = (now() AT TIME ZONE 'UTC')::date WHERE id = 1 RETURNING purged_on"
    day: date = connection.execute(text(statement)).scalar_one()
    return day
