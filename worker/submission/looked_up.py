"""What a look-up before the first request means, for a job that a restored ledger does not know enough of.

The ledger was put back to an earlier moment, and what happened since is forgotten: this case may have been submitted,
under this submission key or, after a replay, under another. So nothing is sent before the API itself has said that it
has no such case. Pure.
"""

from __future__ import annotations

from worker.debitura.judge import Meaning, Verdict
from worker.ledger.states import Api, Reason, WaitReason
from worker.ledger.writer.claim import ClaimedJob
from worker.ledger.writer.record import Result, dead, submitted, waiting
from worker.policy.retry import RetryPolicy

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

    `chance` is a random number from 0 to 1. The refusal of a fresh token has been tried to be mended by the caller, so
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
