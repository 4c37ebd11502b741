"""What happens to a job after a request: pure functions from a verdict to a transition. No I/O, no clock of their
own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from worker.debitura.judge import DUPLICATE_REFERENCE, Meaning, Verdict
from worker.ledger.states import Api, Reason, WaitReason
from worker.ledger.writer.claim import ClaimedJob
from worker.ledger.writer.record import Result, Sent, dead, submitted, waiting
from worker.policy.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No answer came."""

    arrived: bool
    """Whether the request may have arrived."""
    message: str


Heard = Verdict | NoResponse


def may_exist(job: ClaimedJob, heard: Heard) -> bool:
    """Whether, after this, a case of ours may exist that the ledger does not know."""
    if isinstance(heard, NoResponse):
        return job.outcome_unknown or heard.arrived
    if heard.decides and not (heard.error_type == DUPLICATE_REFERENCE and job.outcome_unknown):
        return False
    return job.outcome_unknown or _leaves_unknown(heard)


def needs_lookup(job: ClaimedJob, heard: Heard, policy: RetryPolicy) -> bool:
    """Whether the case should be looked up by its creditorReference before anything is decided.

    When a reference is called a duplicate that may be our own earlier request's; when a success does not say which
    case; and before a job whose outcome is unknown is given to a person.
    """
    if not job.creditor_reference or not may_exist(job, heard):
        return False
    if isinstance(heard, Verdict) and (heard.error_type == DUPLICATE_REFERENCE or heard.meaning is Meaning.UNUSABLE):
        return True
    return policy.used_up(job.attempt_count) and (
        isinstance(heard, NoResponse) or heard.meaning is Meaning.SERVER_ERROR
    )


def after(
    job: ClaimedJob, number: int, sent: Sent | None, heard: Heard, policy: RetryPolicy, chance: float | None = None
) -> Result:
    """The transition that follows from what was heard.

    `number` is the open attempt's, `sent` how its request went. A look-up, where `needs_lookup` asks for one, has been
    made and has found nothing. A 401 here is the second one.
    """
    chance = random.random() if chance is None else chance  # noqa: S311 - jitter is no secret
    unknown = may_exist(job, heard)
    if isinstance(heard, NoResponse):
        return _again(job, number, sent, policy, chance, error=heard.message, unknown=unknown,
                      reason=Reason.OUTCOME_UNKNOWN if unknown else Reason.RETRIES_EXHAUSTED,
                      detail={"message": heard.message}, trouble=Api.CUSTOMER)  # fmt: skip
    match heard.meaning:
        case Meaning.SUBMITTED:
            assert heard.case_id is not None
            return submitted(job.id, number, sent, case_id=heard.case_id, case_reference=heard.case_reference)
        case Meaning.UNAUTHORIZED:
            return _dead(job, number, sent, heard, reason=Reason.SECOND_UNAUTHORIZED, unknown=unknown)
        case Meaning.REFUSED:
            if heard.error_type == DUPLICATE_REFERENCE and unknown:
                # The API knows the reference and the look-up does not find it: only a person can tell.
                return _dead(job, number, sent, heard, reason=Reason.OUTCOME_UNKNOWN, unknown=unknown)
            return _dead(
                job, number, sent, heard, reason=Reason(heard.reason or Reason.UNEXPECTED_RESPONSE), unknown=unknown
            )
        case Meaning.CONFLICT | Meaning.RATE_LIMITED:
            if policy.uncounted_used_up(job.uncounted_requests):
                reason = Reason.OUTCOME_UNKNOWN if unknown else Reason.RETRIES_EXHAUSTED
                return _dead(job, number, sent, heard, reason=reason, unknown=unknown)
            limited = heard.meaning is Meaning.RATE_LIMITED
            delay = heard.retry_after if limited else policy.after_conflict(chance)
            why = WaitReason.RATE_LIMIT if limited else WaitReason.CONFLICT
            return waiting(
                job.id, number, sent, why=why, delay=delay, error=heard.describe(), counts=False, unknown=unknown
            )
        case Meaning.SERVER_ERROR:
            reason = Reason.RETRIES_EXHAUSTED
        case Meaning.UNUSABLE:
            reason = Reason.UNEXPECTED_RESPONSE
    return _again(job, number, sent, policy, chance, error=heard.describe(), unknown=unknown, reason=reason,
                  detail=heard.detail(),
                  trouble=Api.CUSTOMER if heard.meaning is Meaning.SERVER_ERROR else None)  # fmt: skip


def _leaves_unknown(verdict: Verdict) -> bool:
    """A gateway may answer 5xx after the API has taken the case, and a 409 says that a request is in flight."""
    return verdict.meaning in {Meaning.UNUSABLE, Meaning.SERVER_ERROR, Meaning.CONFLICT}


def _again(
    job: ClaimedJob, number: int, sent: Sent | None, policy: RetryPolicy, chance: float,
    *, error: str, unknown: bool, reason: Reason, detail: dict[str, Any], trouble: Api | None,
) -> Result:  # fmt: skip
    """Another attempt later, or a person if this was the last."""
    if policy.used_up(job.attempt_count):
        return dead(job.id, number, sent, reason=reason, error=error, solution_url=None, unknown=unknown,
                    trouble=trouble, detail=detail | {"attempts": job.attempt_count + 1})  # fmt: skip
    delay = policy.backoff(job.attempt_count + 1, chance)
    return waiting(
        job.id, number, sent, why=WaitReason.BACKOFF, delay=delay, error=error, counts=True, unknown=unknown,
        trouble=trouble,
    )  # fmt: skip


def _dead(
    job: ClaimedJob, number: int, sent: Sent | None, verdict: Verdict, *, reason: Reason, unknown: bool
) -> Result:
    return dead(job.id, number, sent, reason=reason, error=verdict.describe(), detail=verdict.detail(),
                solution_url=verdict.solution_url or verdict.combined_signing_url, unknown=unknown)  # fmt: skip
