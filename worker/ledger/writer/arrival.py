"""Insert a job's first row with its round, or the dead letter of a message that could not become a job.

Releases store the round being served, for each priority; each arrival reads it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.case.protection import UNPROTECTED, Protection, key_digest
from worker.ledger.states import Priority, Reason


@dataclass(frozen=True, slots=True)
class NewJob:
    """What intake accepted; every field is already checked."""

    external_tenant_id: str
    idempotency_key: str
    case_body: str
    creditor_reference: str | None
    amount: Decimal | None
    currency: str | None
    priority: Priority
    look_up_first: bool = False
    """The ledger may have known this case before it was restored: see `worker.submission.decide`."""
    trace_context: str | None = None
    """The W3C traceparent of the enqueuing caller."""


@dataclass(frozen=True, slots=True)
class ArrivedJob:
    """A job that was just inserted."""

    id: UUID
    held: bool
    """Its tenant's client link is invalid, so it waits until the link is good again."""


@dataclass(frozen=True, slots=True)
class ExistingJob:
    """The job that already has this tenant and idempotency key."""

    id: UUID
    case_body: str
    """As it is stored."""
    purged: bool
    """Its case was removed."""
    held: bool
    """It waits for its tenant's client link."""


#: SQL: whether that tenant's jobs are held (`worker.ledger.writer.tenant_links`).
STOPPED = "EXISTS (SELECT FROM tenant_links l WHERE l.external_tenant_id = {tenant} AND NOT l.good)"
#: SQL: the round being served of `{priority}`: as far as releases have come, and no earlier than the first that waits.
#: A tenant at its cap, whose old jobs still wait, does not lower it. Costs a row of three and an index look-up.
SERVED_ROUND = """GREATEST(
            (SELECT s.round FROM served_rounds s WHERE s.priority = {priority}),
            COALESCE((SELECT p.round FROM jobs p WHERE p.state = 'pending' AND p.priority = {priority}
                      ORDER BY p.priority, p.round, p.created_at, p.id LIMIT 1), 0))"""

# A tenant's n-th waiting job belongs to the n-th round counted from the round being served when it arrived. Reads a few
# single rows and takes no lock: a tie between concurrent transactions does no harm, but a lock would make a tenant's
# enqueuers wait for each other's transactions.
NEXT_ROUND = f"""
    GREATEST(
        {SERVED_ROUND},
        COALESCE((SELECT p.round + 1 FROM jobs p WHERE p.state = 'pending' AND p.priority = {{priority}}
                  AND p.external_tenant_id = {{tenant}}
                  ORDER BY p.external_tenant_id DESC, p.priority DESC, p.round DESC LIMIT 1), 0))
"""

# For a while after a restore, any arrival may be a case that the ledger has lost.
_INSERT = text(
    f"""
    INSERT INTO jobs (id, external_tenant_id, idempotency_key, case_body, creditor_reference, amount, currency,
                      priority, submission_key, trace_context, look_up_first, round, state)
    VALUES (:id, :tenant, :key, :body, :reference, :amount, :currency, :priority, :submission_key, :trace_context,
            :look_up_first OR EXISTS (SELECT FROM restores WHERE look_up_until > now()),
            {NEXT_ROUND.format(priority="CAST(:priority AS smallint)", tenant="CAST(:tenant AS text)")},
            CASE WHEN {STOPPED.format(tenant=":tenant")}
                 THEN 'held' ELSE 'pending' END)
    ON CONFLICT DO NOTHING
    RETURNING id, state = 'held' AS held
    """
)
_NEXT_LETTER = text("SELECT nextval(pg_get_serial_sequence('dead_letters', 'id'))")
_BURY = text(
    "INSERT INTO dead_letters (id, reason, invalid_client_link, detail) VALUES (:id, :reason, false, :detail)"
).bindparams(bindparam("detail", type_=JSONB))
# By the digest, which is the same for a key and for its hidden form, so it does not matter which of them is stored.
# (An empty case is a purged one, even after the schema was taken down and up again; intake accepts no empty case.)
_FIND = text(
    "SELECT id, case_body, case_body = '{}' AS purged, state = 'held' AS held FROM jobs"
    " WHERE job_key(external_tenant_id, idempotency_key) = :digest"
)
_VERSIONS = text("SELECT case_body FROM case_versions WHERE job_id = :id ORDER BY number")


def new_id() -> UUID:
    """Return a version 7 UUID (RFC 9562): its first 48 bits are milliseconds, so new rows stay together in the index.

    Nothing else depends on that time: order and age come from the database's `created_at`.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def insert_job(connection: Connection, job: NewJob, protection: Protection = UNPROTECTED) -> ArrivedJob | ExistingJob:
    """Insert the job, or find the one that has its tenant and idempotency key. Does not commit."""
    job_id = new_id()
    kept = protection.kept(job_id, job)
    inserted = connection.execute(
        _INSERT,
        {
            "id": job_id,
            "tenant": job.external_tenant_id,
            "key": kept.idempotency_key,
            "body": kept.case_body,
            "reference": kept.creditor_reference,
            "amount": kept.amount,
            "currency": kept.currency,
            "priority": int(job.priority),
            "submission_key": uuid4(),
            "trace_context": job.trace_context,
            "look_up_first": job.look_up_first,
        },
    ).one_or_none()
    if inserted is not None:
        return ArrivedJob(UUID(str(inserted.id)), inserted.held)
    row = connection.execute(_FIND, {"digest": key_digest(job.external_tenant_id, job.idempotency_key)}).one()
    return ExistingJob(row.id, row.case_body, row.purged, row.held)


def earlier_bodies(connection: Connection, job_id: UUID) -> list[str]:
    """Return the earlier versions of a corrected job's case; the first is what the sender submitted.

    A sender that submits one of them again means the same job.
    """
    return list(connection.execute(_VERSIONS, {"id": job_id}).scalars())


def dead_letter_message(connection: Connection, detail: dict[str, Any], protection: Protection = UNPROTECTED) -> int:
    """Store a message that could not become a job. Does not commit. Returns the dead letter's id.

    `detail` holds what was sent (capped by the caller), where it came from, and what is wrong with it.
    """
    number = int(connection.execute(_NEXT_LETTER).scalar_one())
    detail = detail | {"sent": protection.seal_message(number, detail["sent"])}
    connection.execute(_BURY, {"id": number, "reason": Reason.MALFORMED_MESSAGE.value, "detail": detail})
    return number


# Write only if it rises: a row written at each tick would leave dead versions behind for every reader.
_RAISE = text(
    """
    UPDATE served_rounds s SET round = r.round
    FROM unnest(CAST(:priorities AS smallint[]), CAST(:rounds AS bigint[])) AS r(priority, round)
    WHERE s.priority = r.priority AND s.round < r.round
    """
)


def raise_served(connection: Connection, rounds: Mapping[int, int]) -> None:
    """Record that these rounds, by priority, are being served. A round behind the stored one changes nothing."""
    if rounds:
        connection.execute(_RAISE, {"priorities": list(rounds), "rounds": list(rounds.values())})
