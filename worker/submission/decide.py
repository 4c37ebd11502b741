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


NO_REFERENCE = (
    "the ledger was restored from a backup, and the case has no creditorReference by which the API could say whether it"
    " was submitted since. Look for it in Debitura; if it is not there: case-worker reconcile --absent"
)


def without_reference(job: ClaimedJob) -> Result:
    """Nobody but a person can tell whether the case exists."""
    return dead(
        job.id, job.request_count, None, reason=Reason.OUTCOME_UNKNOWN, error=NO_REFERENCE,
        detail={"message": NO_REFERENCE, "no_reference": True}, solution_url=None, unknown=None,
    )  # fmt: skip


def found_there(job: ClaimedJob, found: Verdict) -> Result:
    """The API has the case: an earlier request had created it."""
    assert found.case_id is not None
    return submitted(job.id, job.request_count, None, case_id=found.case_id, case_reference=found.case_reference)


def describe_failed_lookup(found: Verdict) -> str:
    """Why a look-up decided nothing."""
    return f"the look-up by creditorReference failed: {found.describe()}"


def after_look_up(job: ClaimedJob, found: Verdict, policy: RetryPolicy, chance: float) -> Result | None:
    """The transition that follows from the look-up's answer; None: the case is not there, so it may be sent.

    `chance` is a random number from 0 to 1. The refusal of a fresh token has been tried to be fixed by the caller, so
    a 401 here is the second one.
    """
    words = describe_failed_lookup(found)
    match found.meaning:
        case Meaning.SUBMITTED:
            return found_there(job, found)
        case Meaning.REFUSED if found.status == 404 and not found.excerpt:
            return None
        case Meaning.UNAUTHORIZED:
            return _to_a_person(job, Reason.SECOND_UNAUTHORIZED, words, status=found.status)
        case Meaning.REFUSED if found.status != 404:
            return _to_a_person(job, Reason.OUTCOME_UNKNOWN, words, status=found.status)
        case Meaning.RATE_LIMITED:
            return _later(job, words, why=WaitReason.RATE_LIMIT, delay=found.retry_after, counts=False)
    # Trouble there or on the way, or a gateway's page in the API's place.
    if policy.used_up(job.attempt_count):
        return _to_a_person(job, Reason.OUTCOME_UNKNOWN, words, status=found.status, trouble=Api.CUSTOMER)
    return _later(job, words, delay=policy.backoff(job.attempt_count + 1, chance), counts=True, trouble=Api.CUSTOMER)


def _later(
    job: ClaimedJob, words: str, *, delay: float, counts: bool, trouble: Api | None = None,
    why: WaitReason = WaitReason.LOOK_UP_FAILED,
) -> Result:  # fmt: skip
    return waiting(
        job.id, job.request_count, None, why=why, delay=delay, error=words, counts=counts, unknown=None, trouble=trouble
    )


def _to_a_person(
    job: ClaimedJob, reason: Reason, words: str, *, status: int | None, trouble: Api | None = None
) -> Result:
    detail = {"message": words} | ({"status": status} if status else {})
    return dead(
        job.id, job.request_count, None, reason=reason, error=words, detail=detail, solution_url=None, unknown=None,
        trouble=trouble,
    )  # fmt: skip
