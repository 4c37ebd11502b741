"""Claim jobs for a worker under a lease, renew the lease, and open a second attempt after a 401."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import Trigger
from worker.policy.retry import KEY_TRUSTED


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """What a worker needs for one attempt; the open attempt is already in the ledger."""

    id: UUID
    external_tenant_id: str
    case_body: str
    submission_key: UUID
    creditor_reference: str | None
    attempt_count: int
    """Attempts that counted before this one."""
    request_count: int
    """The number of this attempt."""
    next_trigger: Trigger
    outcome_unknown: bool
    rejected_token: str | None = None
    """If the first 401 of a pair came in an earlier claim: the refused token's fingerprint."""
    rejected_seconds_ago: float = 0.0
    """How many seconds ago that request left."""
    probes: frozenset[str] = frozenset()
    """The names of the open circuits whose probe this job is."""
    uncounted_requests: int = 0
    """Requests since the enqueue or the last replay that did not count as attempts."""
    look_up_first: bool = False
    """The ledger was restored from a backup, and this case may have been submitted in the lost hours."""
    trace_context: str | None = None
    """The W3C traceparent of the enqueuing caller."""
    first_sent_at: datetime | None = None
    """When its first request may have left, by the database's clock; None if the ledger does not know."""
    key_expired: bool = False
    """A request may have arrived under a key that the API has forgotten."""


#: SQL: whether a request of the job may have arrived under a key that the API has forgotten. The subquery runs only for
#: jobs with an unknown outcome.
KEY_EXPIRED = """(CASE WHEN {job}.outcome_unknown THEN COALESCE((
            SELECT min(a.started_at) FROM attempts a
            WHERE a.job_id = {job}.id AND a.submission_key = {job}.submission_key
              AND a.outcome IS DISTINCT FROM 'not_sent'
        ) < now() - make_interval(secs => :key_trusted), false) ELSE false END)"""

_CLAIM = text(
    f"""
    WITH picked AS (
        SELECT id FROM jobs
        WHERE id = ANY(:ids) AND state = 'queued' AND NOT EXISTS (SELECT FROM holds WHERE until > now())
        ORDER BY id FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE jobs j
        SET state = 'submitting', queued_at = NULL, lease_token = :lease, lease_owner = :worker,
            lease_until = now() + make_interval(secs => :lease_seconds), request_count = request_count + 1,
            look_up_first = j.look_up_first OR ({KEY_EXPIRED.format(job="j")})
        FROM picked WHERE j.id = picked.id AND j.state = 'queued'
        RETURNING j.id, j.external_tenant_id, j.case_body, j.submission_key, j.creditor_reference, j.attempt_count,
                  j.request_count, j.next_trigger, j.outcome_unknown, j.uncounted_requests,
                  j.look_up_first, j.trace_context, j.priority, j.round, j.created_at,
                  {KEY_EXPIRED.format(job="j")} AS key_expired
    ), opened AS (
        INSERT INTO attempts (job_id, number, trigger, submission_key, worker)
        SELECT id, request_count, next_trigger, submission_key, :worker FROM claimed
    )
    SELECT id, external_tenant_id, case_body, submission_key, creditor_reference, attempt_count, request_count,
           next_trigger, outcome_unknown, uncounted_requests, look_up_first, trace_context, key_expired,
           COALESCE(CASE WHEN request_count > 1 THEN (
                        SELECT min(started_at) FROM attempts
                        WHERE job_id = claimed.id AND number < claimed.request_count
                          AND outcome IS DISTINCT FROM 'not_sent') END,
                    CASE WHEN NOT look_up_first THEN now() END) AS first_sent_at,
           refused.token_fingerprint AS rejected_token,
           COALESCE(EXTRACT(epoch FROM now() - refused.started_at), 0)::float8 AS rejected_seconds_ago,
           ARRAY(SELECT name FROM holds WHERE probe_job = claimed.id) AS probes
    FROM (
        SELECT * FROM claimed
        -- A first try whose commit went through, and only the answer was lost: these are ours already.
        UNION ALL
        SELECT id, external_tenant_id, case_body, submission_key, creditor_reference, attempt_count, request_count,
               next_trigger, outcome_unknown, uncounted_requests, look_up_first, trace_context, priority, round,
               created_at, {KEY_EXPIRED.format(job="jobs")} AS key_expired
        FROM jobs WHERE id = ANY(:ids) AND state = 'submitting' AND lease_token = :lease
    ) claimed LEFT JOIN LATERAL (
        SELECT token_fingerprint, started_at FROM attempts
        WHERE claimed.next_trigger = 'unauthorized_retry' AND job_id = claimed.id AND outcome = 'unauthorized'
        ORDER BY number DESC LIMIT 1
    ) refused ON true
    ORDER BY priority, round, created_at, id
    """
)
_RENEW = text(
    "UPDATE jobs SET lease_until = now() + make_interval(secs => :lease_seconds)"
    " WHERE id = ANY(:ids) AND state = 'submitting' AND lease_token = :lease RETURNING id"
)
_OPEN_SECOND = text(
    """
    WITH held AS (
        UPDATE jobs SET request_count = request_count + 1
        WHERE id = :id AND state = 'submitting' AND lease_token = :lease AND request_count = :number
        RETURNING id, submission_key
    ), closed AS (
        UPDATE attempts a
        SET finished_at = now(), outcome = 'unauthorized', http_status = 401, error_type = :error_type,
            error_message = :error_message, duration_ms = :duration_ms, token_fingerprint = :token_fingerprint,
            token_source = :token_source
        FROM held WHERE a.job_id = held.id AND a.number = :number AND a.outcome IS NULL
    )
    INSERT INTO attempts (job_id, number, trigger, submission_key, worker)
    SELECT id, :number + 1, 'unauthorized_retry', submission_key, :worker FROM held
    RETURNING number
    """
)


@dataclass(frozen=True, slots=True)
class FirstUnauthorized:
    """The first attempt of a pair of 401s, as it is closed when the second one is opened."""

    number: int
    error_type: str | None
    error_message: str | None
    duration_ms: int
    token_fingerprint: str | None
    token_source: str | None


def claim(
    connection: Connection,
    ids: Sequence[UUID],
    *,
    lease: UUID,
    worker: str,
    lease_seconds: float,
    key_trusted: float = KEY_TRUSTED,
) -> list[ClaimedJob]:
    """Claim those of the jobs that are still queued, and open one attempt for each, in turn order.

    A submission key is trusted for `key_trusted` seconds after its first request: after that, a job whose outcome is
    unknown is marked to be looked up first. A job missing from the result belongs to another worker, or is done: a
    duplicate message is harmless. Commit the transaction before any request leaves, so that a crash leaves an open
    attempt as evidence.
    """
    rows = connection.execute(
        _CLAIM,
        {
            "ids": list(ids),
            "lease": lease,
            "worker": worker,
            "lease_seconds": lease_seconds,
            "key_trusted": key_trusted,
        },
    )
    return [
        ClaimedJob(
            row.id,
            row.external_tenant_id,
            row.case_body,
            row.submission_key,
            row.creditor_reference,
            row.attempt_count,
            row.request_count,
            Trigger(row.next_trigger),
            row.outcome_unknown,
            row.rejected_token,
            row.rejected_seconds_ago,
            frozenset(row.probes),
            row.uncounted_requests,
            row.look_up_first,
            row.trace_context,
            row.first_sent_at,
            row.key_expired,
        )
        for row in rows
    ]


def renew_lease(connection: Connection, ids: Sequence[UUID], *, lease: UUID, lease_seconds: float) -> set[UUID]:
    """Renew the lease on those of the jobs that we still hold. Returns their ids; the others are lost."""
    rows = connection.execute(_RENEW, {"ids": list(ids), "lease": lease, "lease_seconds": lease_seconds})
    return set(rows.scalars())


def open_second_attempt(
    connection: Connection, job_id: UUID, first: FirstUnauthorized, *, lease: UUID, worker: str
) -> int | None:
    """Close the attempt that got the first 401 and open the one that is allowed after it.

    Returns the new attempt's number, or None if the lease is lost: then send no request.
    """
    return connection.execute(
        _OPEN_SECOND,
        {
            "id": job_id,
            "lease": lease,
            "worker": worker,
            "number": first.number,
            "error_type": first.error_type,
            "error_message": first.error_message,
            "duration_ms": first.duration_ms,
            "token_fingerprint": first.token_fingerprint,
            "token_source": first.token_source,
        },
    ).scalar()
