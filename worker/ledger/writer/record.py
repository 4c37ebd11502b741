"""Record what became of claimed jobs, in one statement for all that have finished.

Each transition out of `submitting` has a named constructor, so that the fields which belong together are right
together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.ledger.states import (
    INVALID_LINK_REASONS,
    OWN_REFUSALS,
    Api,
    AttemptOutcome,
    Reason,
    State,
    TokenSource,
    Trigger,
    WaitReason,
)
from worker.ledger.writer.arrival import STOPPED


@dataclass(frozen=True, slots=True)
class Sent:
    """How one request went, for its row in `attempts`."""

    number: int
    outcome: AttemptOutcome
    duration_ms: int
    http_status: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    token_fingerprint: str | None = None
    token_source: TokenSource | None = None
    answered_at: float | None = None
    """When the answer came, on this process's monotonic clock; None: just now."""


@dataclass(frozen=True, slots=True)
class Result:
    """One job's transition out of `submitting`. Make it with one of the constructors below."""

    job_id: UUID
    state: State
    sent: Sent | None
    """None: no request left under the attempt that the claim opened, so its row is deleted."""
    number: int
    counts: bool = False
    """Whether it counts towards the limit of attempts."""
    outcome_unknown: bool | None = None
    """True: this request may have arrived. False: this answer settles all earlier ones. None: neither."""
    next_trigger: Trigger | None = None
    """Why the next request will be sent, if it is not a plain retry."""
    delay: float = 0.0
    """For `waiting`: seconds from now until it is due."""
    wait_reason: WaitReason | None = None
    """For `waiting`: why."""
    last_error: str | None = None
    trouble: Api | None = None
    """The API that has a fault of its own: neither the job nor its tenant is to blame."""
    case_id: str | None = None
    case_reference: str | None = None
    reason: Reason | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    solution_url: str | None = None

    @property
    def proves_link(self) -> bool:
        """Whether the API accepted the tenant's token: it has the case, or refused it for a reason of its own."""
        if self.state is State.SUBMITTED:
            return True
        return self.reason in OWN_REFUSALS and self.sent is not None and self.sent.http_status != 401


def submitted(job_id: UUID, number: int, sent: Sent | None, *, case_id: str, case_reference: str | None) -> Result:
    """The API has the case. `sent` is None if a look-up found what an earlier request had created."""
    return Result(
        job_id, State.SUBMITTED, sent, number, counts=sent is not None, outcome_unknown=False,
        case_id=case_id, case_reference=case_reference,
    )  # fmt: skip


def waiting(
    job_id: UUID,
    number: int,
    sent: Sent | None,
    *,
    why: WaitReason,
    delay: float,
    error: str,
    counts: bool,
    unknown: bool | None,
    next_trigger: Trigger | None = None,
    trouble: Api | None = None,
) -> Result:
    """Not now: due again in `delay` seconds, under the same submission key."""
    return Result(
        job_id,
        State.WAITING,
        sent,
        number,
        counts=counts,
        outcome_unknown=unknown,
        delay=delay,
        wait_reason=why,
        last_error=error,
        next_trigger=next_trigger,
        trouble=trouble,
    )


def requeued(job_id: UUID, number: int) -> Result:
    """Nothing was sent: back to the dispatcher, as if never claimed."""
    return Result(job_id, State.PENDING, None, number)


def dead(
    job_id: UUID,
    number: int,
    sent: Sent | None,
    *,
    reason: Reason,
    error: str,
    detail: dict[str, Any],
    solution_url: str | None,
    unknown: bool | None,
    trouble: Api | None = None,
) -> Result:
    """The job needs a person; a dead letter says why."""
    return Result(
        job_id, State.DEAD, sent, number, counts=sent is not None, outcome_unknown=unknown, last_error=error,
        reason=reason, detail=detail, solution_url=solution_url, trouble=trouble,
    )  # fmt: skip


def while_open(result: Result, *, delay: float) -> Result:
    """Return the same result for an open circuit of the faulty API: no attempt counts, and no job dies of it."""
    return replace(
        result,
        state=State.WAITING,
        wait_reason=WaitReason.API_FAULT,
        counts=False,
        delay=delay,
        reason=None,
        detail={},
        solution_url=None,
    )


def taken_back(result: Result, state: State) -> Result:
    """Return the same result for a death that was taken back in the transaction that recorded it."""
    return replace(result, state=state, counts=False, reason=None, detail={}, solution_url=None)


# The attempts are closed whether or not the lease still holds: even a late answer is evidence. Only the holder of the
# lease deletes the row of a request that never left (its number is used again), or closes a second attempt that was
# opened after a 401 and whose end no worker saw. A case that was to be looked up first counts as looked up only if its
# own request was answered; a bug or a stop may have come before that.
_APPLY = text(
    f"""
    WITH r AS (
        SELECT * FROM jsonb_to_recordset(:results) AS r (
            job_id uuid, number int, state text, was_sent boolean, counts boolean, outcome_unknown boolean, delay
            float8, next_trigger text, last_error text, case_id text, case_reference text, reason text,
            invalid_client_link boolean, detail jsonb, solution_url text, outcome text, duration_ms int, http_status
            smallint, error_type text, error_message text, token_fingerprint text, token_source text,
            in_trouble boolean, wait_reason text, answered_ago float8)
    ), closed AS (
        UPDATE attempts a
        SET finished_at = now() - make_interval(secs => COALESCE(r.answered_ago, 0)), outcome = r.outcome,
            http_status = r.http_status, error_type = r.error_type, error_message = r.error_message,
            duration_ms = r.duration_ms, token_fingerprint = r.token_fingerprint, token_source = r.token_source
        FROM r WHERE r.was_sent AND a.job_id = r.job_id AND a.number = r.number
          AND (a.outcome IS NULL OR a.outcome = 'unknown')
    ), moved AS (
        UPDATE jobs j
        SET state = r.state, lease_token = NULL, lease_owner = NULL, lease_until = NULL,
            due_at = CASE WHEN r.state = 'waiting' THEN now() + make_interval(secs => r.delay) END,
            wait_reason = r.wait_reason,
            finalized_at = CASE WHEN r.state = 'submitted' THEN now() END,
            attempt_count = j.attempt_count + r.counts::int, worker_lost = false,
            uncounted_requests = j.uncounted_requests + (r.was_sent AND NOT r.counts AND NOT r.in_trouble)::int,
            request_count = j.request_count - (NOT r.was_sent AND j.request_count = r.number)::int,
            next_trigger = COALESCE(r.next_trigger, CASE WHEN r.was_sent THEN 'retry' ELSE j.next_trigger END),
            outcome_unknown = COALESCE(r.outcome_unknown, j.outcome_unknown),
            look_up_first = j.look_up_first AND r.http_status IS NULL AND r.state <> 'submitted',
            last_error = COALESCE(r.last_error, j.last_error),
            failing_since = COALESCE(j.failing_since, CASE WHEN r.in_trouble THEN now() END),
            case_id = r.case_id, case_reference = r.case_reference
        FROM r WHERE j.id = r.job_id AND j.state = 'submitting' AND j.lease_token = :lease
        RETURNING j.id, j.external_tenant_id, EXTRACT(epoch FROM now() - j.created_at)::float8 AS age
    ), unsent AS (
        DELETE FROM attempts a USING r JOIN moved ON moved.id = r.job_id
        WHERE NOT r.was_sent AND a.job_id = r.job_id AND a.number = r.number AND a.outcome IS NULL
    ), left_open AS (
        UPDATE attempts a
        SET finished_at = now(), outcome = 'unknown', error_type = r.error_type, error_message = r.error_message
        FROM r JOIN moved ON moved.id = r.job_id
        WHERE a.job_id = r.job_id AND a.number > r.number AND a.outcome IS NULL
    ), dead_lettered AS (
        INSERT INTO dead_letters (job_id, reason, invalid_client_link, detail, solution_url)
        SELECT r.job_id, r.reason, r.invalid_client_link, r.detail, r.solution_url
        FROM r JOIN moved ON moved.id = r.job_id WHERE r.reason IS NOT NULL
    )
    SELECT id, age, {STOPPED.format(tenant="moved.external_tenant_id")}
           AS link_stopped
    FROM moved
    """
).bindparams(bindparam("results", type_=JSONB))


class Moved(NamedTuple):
    """A job whose transition was recorded."""

    age: float
    """Seconds since it was enqueued."""
    link_stopped: bool
    """Its tenant's other jobs are held, since the client link was found invalid."""


def apply_transitions(connection: Connection, results: Sequence[Result], *, lease: UUID) -> dict[UUID, Moved]:
    """Record what became of these jobs. Returns those that we still held, by their ids."""
    rows = connection.execute(_APPLY, {"results": [_row(r) for r in results], "lease": lease})
    return {row.id: Moved(row.age, row.link_stopped) for row in rows}


def _row(result: Result) -> dict[str, Any]:
    row = {
        "job_id": str(result.job_id),
        "number": result.number,
        "state": result.state.value,
        "was_sent": result.sent is not None,
        "counts": result.counts,
        "outcome_unknown": result.outcome_unknown,
        "in_trouble": result.trouble is not None,
        "delay": result.delay,
        "wait_reason": result.wait_reason,
        "next_trigger": result.next_trigger,
        "last_error": result.last_error,
        "case_id": result.case_id,
        "case_reference": result.case_reference,
        "reason": result.reason,
        "invalid_client_link": result.reason in INVALID_LINK_REASONS,
        "detail": result.detail,
        "solution_url": result.solution_url,
    }
    if result.sent is None:
        return row
    ago = 0.0 if result.sent.answered_at is None else max(0.0, time.monotonic() - result.sent.answered_at)
    return row | asdict(result.sent) | {"answered_ago": ago}
