"""What a person does about dead jobs: replay or discard them. Both are audited in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.ledger.states import AuditAction
from worker.ledger.writer.arrival import NEXT_ROUND
from worker.policy.replay_plan import keeps_key_in_sql

_KEEPS_KEY = keeps_key_in_sql(outcome_unknown="j.outcome_unknown")


@dataclass(frozen=True, slots=True)
class Actor:
    """The person who acts, and their reason."""

    name: str
    note: str | None = None


# Each of a tenant's jobs gets its own round, as when it first arrived: replaying five hundred of them does not put them
# all ahead of the other tenants.
_REPLAY = text(
    f"""
    WITH places AS (
        SELECT id, row_number() OVER (PARTITION BY external_tenant_id, priority ORDER BY created_at, id) - 1 AS place
        FROM jobs WHERE id = ANY(:ids) AND state = 'dead'
    ), revived AS (
        UPDATE jobs j
        SET state = 'pending', attempt_count = 0, uncounted_requests = 0, failing_since = NULL,
            next_trigger = 'replay', pending_since = now(), link_trial = true,
            submission_key = CASE WHEN {_KEEPS_KEY} THEN j.submission_key ELSE gen_random_uuid() END,
            round = places.place + {NEXT_ROUND.format(priority="j.priority", tenant="j.external_tenant_id")}
        FROM places WHERE j.id = places.id AND j.state = 'dead'
        RETURNING j.id, {_KEEPS_KEY} AS keeps_key
    ), resolved AS (
        UPDATE dead_letters d
        SET resolved_at = now(), resolution = 'replayed', resolved_by = :actor, note = :note
        FROM revived WHERE d.job_id = revived.id AND d.resolved_at IS NULL
    ), audited AS (
        INSERT INTO audit_log (actor, action, job_id, detail, note)
        SELECT :actor, '{AuditAction.REPLAY}', id,
               jsonb_build_object('submission_key', CASE WHEN keeps_key THEN 'kept' ELSE 'renewed' END)
               || CAST(:detail AS jsonb), :note
        FROM revived
    )
    SELECT id FROM revived
    """
).bindparams(bindparam("detail", type_=JSONB))
_DISCARD = text(
    f"""
    WITH given_up AS (
        UPDATE jobs j SET state = 'discarded', finalized_at = now()
        WHERE j.id = ANY(:ids) AND j.state IN ('dead', 'held') RETURNING j.id
    ), resolved AS (
        UPDATE dead_letters d
        SET resolved_at = now(), resolution = 'discarded', resolved_by = :actor, note = :note
        FROM given_up WHERE d.job_id = given_up.id AND d.resolved_at IS NULL
    ), audited AS (
        INSERT INTO audit_log (actor, action, job_id, detail, note)
        SELECT :actor, '{AuditAction.DISCARD}', id, CAST(:detail AS jsonb), :note FROM given_up
    )
    SELECT id FROM given_up
    """
).bindparams(bindparam("detail", type_=JSONB))
_DISCARD_MESSAGES = text(
    f"""
    WITH given_up AS (
        UPDATE dead_letters
        SET resolved_at = now(), resolution = 'discarded', resolved_by = :actor, note = :note
        WHERE id = ANY(:ids) AND job_id IS NULL AND resolved_at IS NULL RETURNING id
    ), audited AS (
        INSERT INTO audit_log (actor, action, detail, note)
        SELECT :actor, '{AuditAction.DISCARD}', jsonb_build_object('dead_letter', id) || CAST(:detail AS jsonb), :note
        FROM given_up
    )
    SELECT id FROM given_up
    """
).bindparams(bindparam("detail", type_=JSONB))


def replay(connection: Connection, ids: Sequence[UUID], actor: Actor, detail: dict[str, Any]) -> list[UUID]:
    """`dead` → `pending` for those of the jobs that are dead. Returns their ids. `detail` goes to the audit log."""
    return _act(connection, _REPLAY, ids, actor, detail)


def discard(connection: Connection, ids: Sequence[UUID], actor: Actor, detail: dict[str, Any]) -> list[UUID]:
    """`dead` or `held` → `discarded` for those of the jobs. Returns their ids. The actor's note is the reason."""
    return _act(connection, _DISCARD, ids, actor, detail)


def discard_messages(connection: Connection, ids: Sequence[int], actor: Actor, detail: dict[str, Any]) -> list[int]:
    """Discard unreadable messages, by the ids of their dead letters. Returns those that were open until now."""
    return _act(connection, _DISCARD_MESSAGES, ids, actor, detail)


def _act(connection: Connection, statement: Any, ids: Sequence[Any], actor: Actor, detail: dict[str, Any]) -> list[Any]:
    parameters = {"ids": list(ids), "actor": actor.name, "note": actor.note, "detail": detail}
    return list(connection.execute(statement, parameters).scalars())
