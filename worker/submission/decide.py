"""Decide what becomes of a job: pure functions from an attempt's findings to its next state. No I/O, no clock.

Everything that can end an attempt is decided here: what stopped it before a request left (`decide_sealed`,
`decide_no_token`, `decide_precheck`, ...), and what came back (`decide`). The rule of 401: after the first one, `send`
gets a fresh token and sends again; one that arrives here is the second, and the client link is invalid
(referral-partners/getting-started/authentication).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worker.case.codec import read_json
from worker.case.comparison import Fact, Match, compare, found_case
from worker.debitura.judge import DUPLICATE_REFERENCE, Meaning, Verdict
from worker.errors import (
    ApiError,
    CaseSealed,
    ClientLinkNotFound,
    MintRateLimited,
    MintRefused,
    MintUnavailable,
    PartnerKeyRejected,
)
from worker.ledger.states import Api, Reason, Trigger, WaitReason
from worker.ledger.writer.claim import ClaimedJob
from worker.ledger.writer.holds import API_KEY_HOLD, HoldName
from worker.ledger.writer.record import Result, Sent, dead, requeued, submitted, waiting
from worker.policy.replay_plan import ReplayPlan, plan_replay
from worker.policy.retry import RetryPolicy

#: Seconds after which a job whose case can't be decrypted here is tried again. Tries are rare, since each uses the rate
#: limit; when a worker that has the key begins to lead, it wakes these jobs.
SEALED_PAUSE = 3600.0
NO_REFERENCE = (
    "the ledger was restored from a backup, and the case has no creditorReference by which the API could say whether it"
    " was submitted since. Look for it in Debitura; if it is not there: case-worker reconcile --absent"
)
OLD_KEY = (
    "a request may have arrived, the API no longer remembers its Idempotency-Key, and the case has no creditorReference"
    " by which it could be looked up. Look for it in Debitura; if it is not there: case-worker replay"
    " --confirmed-absent"
)


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No answer came."""

    arrived: bool
    """Whether the request may have arrived."""
    message: str


#: How a request ended.
Outcome = Verdict | NoResponse


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that was sent, and how it ended."""

    job: ClaimedJob
    sent_at: float
    """When it left, on the monotonic clock."""
    sent: Sent
    outcome: Outcome
    found: Verdict | None = None
    """The answer of a look-up by creditorReference, if `needs_lookup` asked for one."""


@dataclass(frozen=True, slots=True)
class FleetHold:
    """A reason to hold all jobs, found while one was submitted."""

    name: HoldName
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One job's transition, and what else the fleet should know."""

    result: Result
    hold: FleetHold | None = None


# Before a request


def plan_of(job: ClaimedJob) -> ReplayPlan:
    """Return the plan for the job, given the outcome of its earlier requests."""
    return plan_replay(
        outcome_unknown=job.outcome_unknown,
        look_up_first=job.look_up_first,
        has_reference=bool(job.creditor_reference),
    )


def decide_unsent(job: ClaimedJob) -> Decision:
    """Nothing may be sent now: the job goes back as it was."""
    return Decision(requeued(job.id, job.request_count))


def decide_sealed(job: ClaimedJob, error: CaseSealed, chance: float) -> Decision:
    """The case can't be decrypted. The configuration is at fault, not the job, so it waits and records the reason."""
    why = WaitReason.CASE_ALTERED if error.altered else WaitReason.KEY_MISSING
    return Decision(_later(job, str(error), why=why, delay=SEALED_PAUSE * (0.5 + chance / 2), counts=False))


def decide_without_reference(job: ClaimedJob) -> Decision:
    """Only a person can tell whether the case exists."""
    words = OLD_KEY if job.key_expired else NO_REFERENCE
    return Decision(_to_a_person(job, Reason.OUTCOME_UNKNOWN, words, detail={"no_reference": True}))


def decide_no_token(
    job: ClaimedJob, error: ApiError, policy: RetryPolicy, chance: float, *, first: Sent | None = None
) -> Decision:
    """Decide what a failed mint means for the job.

    `first` is the request that got a 401 just before, if there was one. It stays the first 401: the next request is the
    second and last.
    """
    words = str(error)
    trigger = Trigger.UNAUTHORIZED_RETRY if first else None
    match error:
        case ClientLinkNotFound():
            detail = {"status": 404}
            return Decision(_to_a_person(job, Reason.CLIENT_LINK_NOT_FOUND, words, sent=first, detail=detail))
        case MintRefused():
            detail = {"status": error.status}
            return Decision(_to_a_person(job, Reason.VALIDATION, words, sent=first, detail=detail))
        case PartnerKeyRejected():
            result = _later(job, words, why=WaitReason.NO_TOKEN, counts=False, sent=first, next_trigger=trigger)
            return Decision(result, FleetHold(HoldName.API_KEY, API_KEY_HOLD, words))
        case MintRateLimited():
            result = _later(
                job, words, why=WaitReason.RATE_LIMIT, delay=error.retry_after, counts=False, sent=first,
                next_trigger=trigger,
            )  # fmt: skip
            return Decision(result, FleetHold(HoldName.MINT_RATE_LIMIT, error.retry_after, words))
    assert isinstance(error, MintUnavailable)
    if policy.used_up(job.attempt_count):
        reason = Reason.OUTCOME_UNKNOWN if job.outcome_unknown else Reason.RETRIES_EXHAUSTED
        detail = {"attempts": job.attempt_count + 1}
        return Decision(_to_a_person(job, reason, words, sent=first, detail=detail, trouble=Api.REFERRAL))
    return Decision(
        _later(
            job, words, why=WaitReason.NO_TOKEN, delay=policy.backoff(job.attempt_count + 1, chance), counts=True,
            sent=first, next_trigger=trigger, trouble=Api.REFERRAL,
        )
    )  # fmt: skip


def decide_precheck(job: ClaimedJob, found: Verdict, policy: RetryPolicy, chance: float) -> Decision | None:
    """After a restore, the case was looked up before anything is sent. None: it is not there, so it may be sent.

    `chance` is a random number from 0 to 1. The look-up has already been retried with a fresh token, so a 401 here is
    the second one.
    """
    result = after_look_up(job, found, policy, chance)
    return Decision(result, _hold_by(found)) if result else None


def needs_replay_lookup(job: ClaimedJob, policy: RetryPolicy) -> bool:
    """Whether to look up an unknown outcome before a request: on a replay, and when no attempt is left."""
    due = policy.spent(job.attempt_count) or job.next_trigger is Trigger.REPLAY
    return due and plan_of(job) is ReplayPlan.LOOK_UP_FIRST


def decide_replay_lookup(job: ClaimedJob, found: Verdict, policy: RetryPolicy) -> Decision | None:
    """The case of a job whose outcome is unknown was looked up. None: the job may be sent.

    If the look-up fails, the old key is protection enough, unless no attempt is left.
    """
    if found.meaning is Meaning.SUBMITTED:
        return Decision(found_there(job, found))
    if policy.spent(job.attempt_count) and not says_absent(found):
        words = describe_failed_lookup(found)
        return Decision(_later(job, words, why=WaitReason.LOOK_UP_FAILED, delay=policy.longest / 10, counts=False))
    return None


def decide_no_attempt_left(job: ClaimedJob) -> Decision:
    """The job's last worker was lost, or the limit was lowered. Any possible look-up has been made."""
    reason = Reason.OUTCOME_UNKNOWN if job.outcome_unknown else Reason.RETRIES_EXHAUSTED
    words = "no attempt is left" + (", and no answer says whether it arrived" if job.outcome_unknown else "")
    return Decision(_to_a_person(job, reason, words, detail={"attempts": job.attempt_count}))


# After a request


def is_401(outcome: Outcome) -> bool:
    """Whether the API did not accept the token."""
    return isinstance(outcome, Verdict) and outcome.meaning is Meaning.UNAUTHORIZED


def may_exist(job: ClaimedJob, outcome: Outcome) -> bool:
    """Whether a case of ours that the ledger does not know may now exist."""
    if isinstance(outcome, NoResponse):
        return job.outcome_unknown or outcome.arrived
    if outcome.decides and not (outcome.error_type == DUPLICATE_REFERENCE and job.outcome_unknown):
        return False
    return job.outcome_unknown or _leaves_unknown(outcome)


def needs_lookup(job: ClaimedJob, outcome: Outcome, policy: RetryPolicy) -> bool:
    """Whether the case must be looked up by its creditorReference before a decision.

    True when a reference is called a duplicate that may be our own earlier request's; when a success does not say which
    case; and before a job whose outcome is unknown goes to a person.
    """
    if not job.creditor_reference or not may_exist(job, outcome):
        return False
    if isinstance(outcome, Verdict) and (
        outcome.error_type == DUPLICATE_REFERENCE or outcome.meaning is Meaning.UNUSABLE
    ):
        return True
    return policy.used_up(job.attempt_count) and (
        isinstance(outcome, NoResponse) or outcome.meaning is Meaning.SERVER_ERROR
    )


def decide(answer: Answer, policy: RetryPolicy, chance: float) -> Decision:
    """Return the transition that follows from an answer, and from the look-up if one was needed.

    `chance` is a random number from 0 to 1.
    """
    job, sent, outcome, found = answer.job, answer.sent, answer.outcome, answer.found
    if found is not None and found.meaning is Meaning.SUBMITTED:
        return Decision(found_there(job, found, sent))
    if found is not None and not says_absent(found) and not (isinstance(outcome, Verdict) and outcome.excerpt):
        # The look-up itself failed, so nothing is decided: treat it as if no answer had come.
        outcome = NoResponse(arrived=True, message=describe_failed_lookup(found))
    return Decision(after(job, sent.number, sent, outcome, policy, chance), _hold_by(outcome))


def after(
    job: ClaimedJob, number: int, sent: Sent | None, outcome: Outcome, policy: RetryPolicy, chance: float
) -> Result:
    """Return the transition that follows from the outcome.

    `number` is the open attempt's, `sent` how its request went. A look-up, if `needs_lookup` asked for one, has already
    found nothing. A 401 here is the second one.
    """
    unknown = may_exist(job, outcome)
    if isinstance(outcome, NoResponse):
        return _again(job, number, sent, policy, chance, error=outcome.message, unknown=unknown,
                      reason=Reason.OUTCOME_UNKNOWN if unknown else Reason.RETRIES_EXHAUSTED,
                      detail={"message": outcome.message}, trouble=Api.CUSTOMER)  # fmt: skip
    match outcome.meaning:
        case Meaning.SUBMITTED:
            assert outcome.case_id is not None
            return submitted(job.id, number, sent, case_id=outcome.case_id, case_reference=outcome.case_reference)
        case Meaning.UNAUTHORIZED:
            return _dead(job, number, sent, outcome, reason=Reason.SECOND_UNAUTHORIZED, unknown=unknown)
        case Meaning.REFUSED:
            if outcome.error_type == DUPLICATE_REFERENCE and unknown:
                # The API knows the reference, but the look-up does not find it: only a person can tell.
                return _dead(job, number, sent, outcome, reason=Reason.OUTCOME_UNKNOWN, unknown=unknown)
            return _dead(
                job, number, sent, outcome, reason=Reason(outcome.reason or Reason.UNEXPECTED_RESPONSE), unknown=unknown
            )
        case Meaning.CONFLICT | Meaning.RATE_LIMITED:
            if policy.uncounted_used_up(job.uncounted_requests):
                reason = Reason.OUTCOME_UNKNOWN if unknown else Reason.RETRIES_EXHAUSTED
                return _dead(job, number, sent, outcome, reason=reason, unknown=unknown)
            limited = outcome.meaning is Meaning.RATE_LIMITED
            delay = outcome.retry_after if limited else policy.after_conflict(chance)
            why = WaitReason.RATE_LIMIT if limited else WaitReason.CONFLICT
            return waiting(
                job.id, number, sent, why=why, delay=delay, error=outcome.describe(), counts=False, unknown=unknown
            )
        case Meaning.SERVER_ERROR | Meaning.UNUSABLE:
            reason = Reason(outcome.reason or Reason.RETRIES_EXHAUSTED)
    return _again(job, number, sent, policy, chance, error=outcome.describe(), unknown=unknown, reason=reason,
                  detail=outcome.detail(),
                  trouble=Api.CUSTOMER if outcome.meaning is Meaning.SERVER_ERROR else None)  # fmt: skip


def _leaves_unknown(verdict: Verdict) -> bool:
    """A gateway may answer 5xx after the API has taken the case, and a 409 says that a request is in flight."""
    return verdict.meaning in {Meaning.UNUSABLE, Meaning.SERVER_ERROR, Meaning.CONFLICT}


def _again(
    job: ClaimedJob, number: int, sent: Sent | None, policy: RetryPolicy, chance: float,
    *, error: str, unknown: bool, reason: Reason, detail: dict[str, Any], trouble: Api | None,
) -> Result:  # fmt: skip
    """Retry later, or hand the job to a person if this was the last attempt."""
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


def says_absent(found: Verdict) -> bool:
    """Whether a look-up's answer says that the API has no such case. A gateway's page says nothing."""
    return found.meaning is Meaning.REFUSED and found.status == 404


def found_there(job: ClaimedJob, found: Verdict, sent: Sent | None = None) -> Result:
    """A look-up found a case under the job's reference: it is ours only if it matches the one that we sent.

    `sent` is the request that was sent just before the look-up, if there was one.
    """
    assert found.case_id is not None
    number = sent.number if sent else job.request_count
    compared = compare(read_json(job.case_body, where="case"), found.found or found_case(None), job.first_sent_at)
    facts = {name: getattr(compared, name).value for name in ("amount", "currency", "debtor", "created")}
    case = {"id": found.case_id, "reference": found.case_reference, "compared": facts}
    created = found.found.created if found.found else None
    named = f"{found.case_reference or found.case_id}" + (f" of {created:%Y-%m-%d}" if created else "")
    if compared.match is Match.OURS:
        return submitted(job.id, number, sent, case_id=found.case_id, case_reference=found.case_reference)
    if compared.match is Match.ANOTHERS:
        differs = ", ".join(name for name, fact in facts.items() if fact == Fact.DIFFERENT)
        words = f"the creditorReference belongs to another case, {named}: it differs in {differs}"
        return dead(
            job.id, number, sent, reason=Reason.BUSINESS_RULE, error=words, solution_url=None, unknown=False,
            detail={"type": DUPLICATE_REFERENCE, "message": words, "found": case},
        )  # fmt: skip
    told = ", ".join(f"{name} {fact}" for name, fact in facts.items())
    words = (
        f"the API has case {named} under this creditorReference, and nothing proves that it is ours ({told}): compare"
        " the two in Debitura"
    )
    return dead(
        job.id, number, sent, reason=Reason.OUTCOME_UNKNOWN, error=words, solution_url=None, unknown=True,
        detail={"message": words, "found": case},
    )  # fmt: skip


def describe_failed_lookup(found: Verdict) -> str:
    """Describe why a look-up decided nothing."""
    return f"the look-up by creditorReference failed: {found.describe()}"


def after_look_up(job: ClaimedJob, found: Verdict, policy: RetryPolicy, chance: float) -> Result | None:
    """Return the transition that follows from the look-up's answer; None: the case is not there, so it may be sent.

    `chance` is a random number from 0 to 1. The caller has already retried with a fresh token, so a 401 here is the
    second one.
    """
    words = describe_failed_lookup(found)
    detail = {"status": found.status} if found.status else {}
    if says_absent(found):
        return None
    match found.meaning:
        case Meaning.SUBMITTED:
            return found_there(job, found)
        case Meaning.UNAUTHORIZED:
            return _to_a_person(job, Reason.SECOND_UNAUTHORIZED, words, detail=detail)
        case Meaning.REFUSED if found.status != 404:
            return _to_a_person(job, Reason.OUTCOME_UNKNOWN, words, detail=detail)
        case Meaning.RATE_LIMITED:
            return _later(job, words, why=WaitReason.RATE_LIMIT, delay=found.retry_after, counts=False)
    # A fault of the API or the network, or a gateway's page instead of the API's answer.
    if policy.used_up(job.attempt_count):
        return _to_a_person(
            job,
            Reason.OUTCOME_UNKNOWN,
            words,
            detail=detail,
            trouble=Api.CUSTOMER,
        )
    delay = policy.backoff(job.attempt_count + 1, chance)
    return _later(job, words, why=WaitReason.LOOK_UP_FAILED, delay=delay, counts=True, trouble=Api.CUSTOMER)


def _hold_by(outcome: Outcome) -> FleetHold | None:
    """Return the hold that a 429 of the Customer API puts on the whole fleet."""
    if isinstance(outcome, Verdict) and outcome.meaning is Meaning.RATE_LIMITED:
        return FleetHold(HoldName.RATE_LIMIT, outcome.retry_after, outcome.describe())
    return None


def _later(
    job: ClaimedJob, words: str, *, why: WaitReason, counts: bool, delay: float = 0.0, sent: Sent | None = None,
    next_trigger: Trigger | None = None, trouble: Api | None = None,
) -> Result:  # fmt: skip
    """Wait; nothing new is known about the outcome."""
    return waiting(
        job.id, job.request_count, sent, why=why, delay=delay, error=words, counts=counts, unknown=None,
        next_trigger=next_trigger, trouble=trouble,
    )  # fmt: skip


def _to_a_person(
    job: ClaimedJob, reason: Reason, words: str, *, detail: dict[str, Any], sent: Sent | None = None,
    trouble: Api | None = None,
) -> Result:  # fmt: skip
    """Dead-letter the job; nothing new is known about the outcome."""
    return dead(
        job.id, job.request_count, sent, reason=reason, error=words, detail=detail | {"message": words},
        solution_url=None, unknown=None, trouble=trouble,
    )  # fmt: skip
