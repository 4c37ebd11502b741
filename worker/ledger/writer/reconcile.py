"""After a restore from a backup: mark jobs that the lost hours may have submitted, to be looked up first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.ledger.states import AuditAction, State
from worker.ledger.writer.claim import KEY_EXPIRED
from worker.ledger.writer.resolve import Actor

#: The states from which a case may still be sent.
OPEN_STATES = (State.PENDING, State.WAITING, State.QUEUED, State.SUBMITTING, State.HELD, State.DEAD)
#: The most jobs to mark in one transaction.
CHUNK = 1000

_NOTE = text(
    "INSERT INTO restores (restored_to, look_up_until, actor)"
    " VALUES (:restored_to, now() + make_interval(secs => :seconds), :actor) RETURNING look_up_until"
)
# A living job's outcome is now unknown: it may have been sent under its present key. A dead job's outcome was known
# when it died; if the lost hours replayed it, that was under another key, so its own key says nothing.
_MARK = {
    state: text(
        f"""
        WITH picked AS MATERIALIZED (
            SELECT id FROM jobs WHERE state = '{state}' AND NOT look_up_first LIMIT {CHUNK} FOR UPDATE
        ), marked AS (
            UPDATE jobs j SET look_up_first = true, outcome_unknown = j.outcome_unknown OR j.state <> 'dead'
            FROM picked WHERE j.id = picked.id RETURNING j.id
        ), audited AS (
            INSERT INTO audit_log (actor, action, job_id, detail, note)
            SELECT :actor, '{AuditAction.RECONCILE}', id, CAST(:detail AS jsonb), :note FROM marked
        )
        SELECT count(*) FROM marked
        """
    ).bindparams(bindparam("detail", type_=JSONB))
    for state in OPEN_STATES
}
_ABSENT = text(
    f"""
    WITH cleared AS (
        UPDATE jobs SET look_up_first = false, outcome_unknown = false
        WHERE id = ANY(:ids) AND state = 'dead' AND look_up_first RETURNING id
    ), audited AS (
        INSERT INTO audit_log (actor, action, job_id, detail, note)
        SELECT :actor, '{AuditAction.RECONCILE_ABSENT}', id, CAST(:detail AS jsonb), :note FROM cleared
    )
    SELECT id FROM cleared
    """
).bindparams(bindparam("detail", type_=JSONB))


# The first condition is that of the index `ix_jobs_dead_may_exist`.
_MARK_OLD_KEYS = text(
    f"""
    UPDATE jobs j SET look_up_first = true
    WHERE j.state = 'dead' AND (j.outcome_unknown OR j.look_up_first) AND NOT j.look_up_first
      AND {KEY_EXPIRED.format(job="j")}
    """
)


def note_restore(connection: Connection, *, restored_to: datetime | None, look_up: float, actor: Actor) -> datetime:
    """Record the restore; for `look_up` seconds, jobs that arrive are looked up first. Returns until when.

    Any arrival may be a case that the ledger knew before, submitted once more.
    """
    parameters = {"restored_to": restored_to, "seconds": look_up, "actor": actor.name}
    until: datetime = connection.execute(_NOTE, parameters).scalar_one()
    return until


def mark_some(connection: Connection, state: State, actor: Actor, detail: dict[str, Any]) -> int:
    """Mark up to CHUNK jobs in that state to be looked up before anything is sent. Returns how many; 0: none is left.

    Marking again changes nothing.
    """
    parameters = {"actor": actor.name, "note": actor.note, "detail": detail}
    return int(connection.execute(_MARK[state], parameters).scalar_one())


def mark_old_keys(connection: Connection, *, key_trusted: float) -> int:
    """Mark dead jobs whose case may exist under a key that the API has forgotten. Returns how many.

    So previews show what a replay does before a worker claims the job and finds it too (`worker.ledger.writer.claim`).
    """
    return connection.execute(_MARK_OLD_KEYS, {"key_trusted": key_trusted}).rowcount


def note_absent(connection: Connection, ids: Sequence[UUID], actor: Actor, detail: dict[str, Any]) -> list[UUID]:
    """Record that a person found no case of these dead jobs at the API. A replay sends them without a look-up.

    Returns the ids of those that were dead and marked.
    """
    parameters = {"ids": list(ids), "actor": actor.name, "note": actor.note, "detail": detail}
    return list(connection.execute(_ABSENT, parameters).scalars())
