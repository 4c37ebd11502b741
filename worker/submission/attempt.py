"""One attempt, end to end: token, POST /cases, judge. The claim before and the record after are in `batch`.

No SQL transaction is open while a request is under way. The rule of 401 to the letter: drop the refused token, take a
fresh one, send once more; a second 401 means that the client link is invalid. There is never a third request
(referral-partners/getting-started/authentication).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeGuard
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from worker.case.codec import reference_in
from worker.debitura.apis import post_case
from worker.debitura.http import HttpClient, Reply
from worker.debitura.judge import Meaning, Verdict, judge
from worker.debitura.token_cache import RedisTokenCache
from worker.debitura.tokens import Rejected, Token, TokenStore
from worker.errors import (
    ApiError,
    CaseSealed,
    ClientLinkNotFound,
    LeaseLost,
    MaybeArrived,
    MintRateLimited,
    MintRefused,
    MintUnavailable,
    NotSent,
    PartnerKeyRejected,
)
from worker.ledger.database import run_with_retry
from worker.ledger.states import Api, AttemptOutcome, Reason, State, TokenSource, Trigger, WaitReason
from worker.ledger.writer.claim import ClaimedJob, FirstUnauthorized, open_second_attempt
from worker.ledger.writer.holds import API_KEY_HOLD, HoldName
from worker.ledger.writer.pace import take
from worker.ledger.writer.record import Result, Sent, dead, requeued, submitted, waiting
from worker.policy.rate_limit import Pace
from worker.policy.replay_plan import ReplayPlan, plan_replay
from worker.policy.retry import RetryPolicy
from worker.settings import Settings
from worker.submission.decide import (
    Heard,
    NoResponse,
    after,
    after_look_up,
    describe_failed_lookup,
    found_there,
    needs_lookup,
    without_reference,
)
from worker.submission.lookup import CaseLookup
from worker.submission.mint import Mint
from worker.submission.redact import scrubbed
from worker.telemetry.logging import tenant_digest
from worker.telemetry.metrics import count, definitions
from worker.telemetry.tracing import current_traceparent, parse_traceparent, request_span, span

log = structlog.get_logger(__name__)

#: Seconds for one answer of the mint. Others may wait for it, so it is shorter than a submission's.
MINT_TIMEOUT = 10.0
#: Seconds after which a job is looked at again whose case cannot be opened here. It costs its share of the pace each
#: time, so that is not often; when a worker that has the key begins to lead, it wakes them all.
SEALED_PAUSE = 3600.0


@dataclass(frozen=True, slots=True)
class FleetHold:
    """Something that concerns all jobs, found while one was submitted."""

    name: HoldName
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One job's transition, and what else the fleet should know."""

    result: Result
    hold: FleetHold | None = None


class Submitter:
    """One process's means to submit: kept-alive connections to both APIs, and the token store. Safe for many
    threads."""

    def __init__(self, settings: Settings, engine: Engine, *, worker: str) -> None:
        self._engine = engine
        self._worker = worker
        self._protection = settings.protection
        self._trace_to_api = settings.trace_to_api
        self._pace = pace = Pace.parse(settings.rate_limits)
        self.policy = RetryPolicy(settings.max_attempts, settings.retry_base, settings.retry_max)
        mint_timeout = min(MINT_TIMEOUT, settings.request_timeout)
        self._customer = HttpClient(
            settings.customer_api_url, timeout=settings.request_timeout, connections=settings.threads
        )
        referral = HttpClient(settings.referral_api_url, timeout=mint_timeout, connections=settings.threads)
        cache = RedisTokenCache(
            settings.redis_url,
            api_key=settings.api_key,
            environment=settings.environment,
            lock_seconds=2 * mint_timeout + 5,
            connections=settings.threads,
        )
        self.mint = Mint(engine, referral, api_key=settings.api_key, pace=pace)
        self.tokens = TokenStore(self.mint, cache, longest_mint=2 * mint_timeout + 5)
        self._lookup = CaseLookup(engine, self._customer, self.tokens, pace=pace)

    def attempt(self, job: ClaimedJob, *, lease: UUID, may_send: Callable[[], bool]) -> Outcome:
        """Submit one claimed job. Sends nothing once `may_send` says no; then the job goes back as it was.

        Raises nothing but a bug's own exception and what the database raises when the second attempt is opened.
        """
        with span(
            "attempt", kind="consumer", parent=parse_traceparent(job.trace_context), job_id=str(job.id),
            tenant=tenant_digest(job.external_tenant_id), attempt=job.request_count, trigger=str(job.next_trigger),
        ) as attempting:  # fmt: skip
            outcome = self._attempt(job, lease, may_send)
            attempting.note(outcome=str(outcome.result.state), reason=outcome.result.reason)
            if outcome.result.state is State.DEAD:
                attempting.fail(str(outcome.result.reason))
        return outcome

    def _attempt(self, job: ClaimedJob, lease: UUID, may_send: Callable[[], bool]) -> Outcome:
        if not may_send():
            return Outcome(requeued(job.id, job.request_count))
        try:
            job = self._opened(job)
        except CaseSealed as error:
            return self._sealed(job, error)
        if _plan(job) is ReplayPlan.ASK_A_PERSON:
            return Outcome(without_reference(job))
        return self._submit(job, lease, may_send)

    def _submit(self, job: ClaimedJob, lease: UUID, may_send: Callable[[], bool]) -> Outcome:
        rejected = None
        if job.next_trigger is Trigger.UNAUTHORIZED_RETRY and job.rejected_token:
            # The first 401 came earlier, and no fresh token could be had then.
            rejected = Rejected(job.rejected_token, job.rejected_seconds_ago)
        elif job.probes & {HoldName.API_KEY, HoldName.REFERRAL_API}:
            # This job is to find out whether tokens can be minted again, so a cached one will not do.
            rejected = Rejected("", 0.0)
        try:
            token = self.tokens.get(job.external_tenant_id, rejected=rejected)
        except ApiError as error:
            return self._no_token(job, error)
        if job.look_up_first:
            if (outcome := self._look_up_first(job, token)) is not None:
                return outcome
        elif (found := self._found_before(job, token)) is not None:
            return Outcome(found)
        if job.attempt_count >= self.policy.max_attempts:
            # Its last worker died with it, or the limit was lowered. What could be looked up was looked up.
            reason = Reason.OUTCOME_UNKNOWN if job.outcome_unknown else Reason.RETRIES_EXHAUSTED
            message = "no attempt is left" + (", and no answer says whether it arrived" if job.outcome_unknown else "")
            return Outcome(
                dead(job.id, job.request_count, None, reason=reason, error=message,
                     detail={"message": message, "attempts": job.attempt_count}, solution_url=None, unknown=None)
            )  # fmt: skip
        if not may_send():
            return Outcome(requeued(job.id, job.request_count))
        if job.next_trigger is Trigger.UNAUTHORIZED_RETRY:
            count(definitions.UNAUTHORIZED_RETRIES)
        sent_at, number = time.monotonic(), job.request_count
        heard = self._post(job, token)
        if _is_401(heard):
            self.tokens.reject(job.external_tenant_id, token.fingerprint)
            if job.next_trigger is not Trigger.UNAUTHORIZED_RETRY:
                return self._once_more(job, token, heard, sent_at, lease, may_send)
        return self._conclude(job, number, token, heard, sent_at)

    def _opened(self, job: ClaimedJob) -> ClaimedJob:
        """The job with its case as the door fixed it, and with the reference that only stands in there."""
        body = self._protection.open_case(job.id, job.case_body)
        return replace(job, case_body=body, creditor_reference=job.creditor_reference or reference_in(body))

    def _sealed(self, job: ClaimedJob, error: CaseSealed) -> Outcome:
        """Nothing can be sent. It is nobody's failure but the configuration's, so the job waits, and says for what."""
        log.error(
            "decryption_failed",
            job_id=str(job.id),
            tenant=tenant_digest(job.external_tenant_id),
            key=error.key,
            altered=error.altered,
        )
        delay = SEALED_PAUSE * (0.5 + random.random() / 2)  # noqa: S311 - jitter is no secret
        return Outcome(
            waiting(
                job.id,
                job.request_count,
                None,
                why=WaitReason.CASE_ALTERED if error.altered else WaitReason.KEY_MISSING,
                delay=delay,
                error=str(error),
                counts=False,
                unknown=None,
            )
        )

    def _once_more(
        self, job: ClaimedJob, refused: Token, first: Verdict, sent_at: float, lease: UUID, may_send: Callable[[], bool]
    ) -> Outcome:
        """After the first 401: a fresh token, and the request once more."""
        closed = _sent(job.request_count, refused, first, sent_at)
        rejected = Rejected(refused.fingerprint, time.monotonic() - sent_at)
        try:
            token = self.tokens.get(job.external_tenant_id, rejected=rejected)
        except ApiError as error:
            return self._no_token(job, error, closed)
        first_unauthorized = FirstUnauthorized(
            closed.number,
            closed.error_type,
            closed.error_message,
            closed.duration_ms,
            refused.fingerprint,
            _source(refused),
        )

        def open_second(connection: Connection) -> int | None:
            take(connection, Api.CUSTOMER, self._pace, 1)
            return open_second_attempt(connection, job.id, first_unauthorized, lease=lease, worker=self._worker)

        number = run_with_retry(
            self._engine,
            open_second,
            until=lambda: not may_send(),
        )
        if number is None:
            raise LeaseLost(f"job {job.id} was taken back while its token was renewed")
        count(definitions.SUBMISSIONS, closed.outcome)
        count(definitions.UNAUTHORIZED_RETRIES)
        sent_at = time.monotonic()
        heard = self._post(job, token)
        if _is_401(heard):
            self.tokens.reject(job.external_tenant_id, token.fingerprint)
        return self._conclude(job, number, token, heard, sent_at)

    def _conclude(self, job: ClaimedJob, number: int, token: Token, heard: Heard, sent_at: float) -> Outcome:
        """Look the case up where the answer alone does not decide, and turn what is known into a transition."""
        sent = _sent(number, token, heard, sent_at)
        if needs_lookup(job, heard, self.policy):
            found = self._lookup.look_up(job, token)
            if found.meaning is Meaning.SUBMITTED:
                assert found.case_id is not None
                return Outcome(
                    submitted(job.id, number, sent, case_id=found.case_id, case_reference=found.case_reference)
                )
            if found.meaning is not Meaning.REFUSED or found.status != 404:
                # The look-up itself failed, so nothing is decided: as if no answer had come.
                heard = NoResponse(arrived=True, message=describe_failed_lookup(found))
        return Outcome(after(job, number, sent, heard, self.policy), _hold_by(heard))

    def _found_before(self, job: ClaimedJob, token: Token) -> Result | None:
        """Before a replay, or at the limit, of a job whose outcome is unknown: is the case there already?

        A look-up that fails leaves the old key as the protection, which is enough.
        """
        last_word = job.attempt_count >= self.policy.max_attempts
        if _plan(job) is not ReplayPlan.LOOK_UP_FIRST or not (last_word or job.next_trigger is Trigger.REPLAY):
            return None
        found = self._lookup.look_up(job, token)
        if found.meaning is Meaning.SUBMITTED:
            return found_there(job, found)
        if last_word and found.status != 404:
            delay, words = self.policy.longest / 10, describe_failed_lookup(found)
            return waiting(
                job.id, job.request_count, None, why=WaitReason.LOOK_UP_FAILED,
                delay=delay, error=words, counts=False, unknown=None,
            )  # fmt: skip
        return None

    def _look_up_first(self, job: ClaimedJob, token: Token) -> Outcome | None:
        """After a restore: is the case there already? None: it is not, so it may be sent."""
        try:
            found = self._lookup.ask(job, token)
        except (NotSent, MaybeArrived) as error:
            found = Verdict(Meaning.SERVER_ERROR, 0, message=str(error))
        except ApiError as error:
            return self._no_token(job, error)
        result = after_look_up(job, found, self.policy, random.random())  # noqa: S311 - jitter is no secret
        return None if result is None else Outcome(result, _hold_by(found))

    def _post(self, job: ClaimedJob, token: Token) -> Heard:
        try:
            with request_span("POST", "/cases") as posting:
                reply: Reply = post_case(
                    self._customer, token=token.value, submission_key=str(job.submission_key),
                    body=job.case_body.encode(), traceparent=current_traceparent() if self._trace_to_api else None,
                )  # fmt: skip
                posting.note(http__response__status_code=reply.status)
        except NotSent as error:
            return NoResponse(arrived=False, message=str(error))
        except MaybeArrived as error:
            return NoResponse(arrived=True, message=str(error))
        return scrubbed(judge(reply), job.case_body)

    def _no_token(self, job: ClaimedJob, error: ApiError, first: Sent | None = None) -> Outcome:
        """What a failed mint means for the job. `first` is the attempt that got a 401 before, if there was one."""
        number = job.request_count
        match error:
            case ClientLinkNotFound():
                reason, detail = Reason.CLIENT_LINK_NOT_FOUND, {"status": 404, "message": str(error)}
            case MintRefused():
                reason, detail = Reason.VALIDATION, {"status": error.status, "message": str(error)}
            case PartnerKeyRejected():
                hold = FleetHold(HoldName.API_KEY, API_KEY_HOLD, str(error))
                return Outcome(_later(job, first, delay=0.0, error=str(error), counts=False), hold)
            case MintRateLimited():
                hold = FleetHold(HoldName.MINT_RATE_LIMIT, error.retry_after, str(error))
                return Outcome(_later(job, first, delay=error.retry_after, error=str(error), counts=False,
                                      why=WaitReason.RATE_LIMIT), hold)  # fmt: skip
            case _:
                assert isinstance(error, MintUnavailable)
                if not self.policy.used_up(job.attempt_count):
                    delay = self.policy.backoff(job.attempt_count + 1, random.random())  # noqa: S311 - jitter is no secret
                    return Outcome(_later(job, first, delay=delay, error=str(error), counts=True, trouble=Api.REFERRAL))
                reason = Reason.OUTCOME_UNKNOWN if job.outcome_unknown else Reason.RETRIES_EXHAUSTED
                detail = {"message": str(error), "attempts": job.attempt_count + 1}
        trouble = Api.REFERRAL if isinstance(error, MintUnavailable) else None
        return Outcome(
            dead(job.id, number, first, reason=reason, error=str(error), detail=detail, solution_url=None, unknown=None,
                 trouble=trouble)
        )  # fmt: skip


def _plan(job: ClaimedJob) -> ReplayPlan:
    """What the outcome of the job's earlier requests asks for before it is sent."""
    return plan_replay(
        outcome_unknown=job.outcome_unknown,
        look_up_first=job.look_up_first,
        has_reference=bool(job.creditor_reference),
    )


def _hold_by(heard: Heard) -> FleetHold | None:
    """A 429 of the Customer API concerns the whole fleet."""
    if isinstance(heard, Verdict) and heard.meaning is Meaning.RATE_LIMITED:
        return FleetHold(HoldName.RATE_LIMIT, heard.retry_after, heard.describe())
    return None


def _later(
    job: ClaimedJob,
    first: Sent | None,
    *,
    delay: float,
    error: str,
    counts: bool,
    trouble: Api | None = None,
    why: WaitReason = WaitReason.NO_TOKEN,
) -> Result:
    """No token now. A 401 that came before stays the first one: the next request is the second and last."""
    return waiting(
        job.id, job.request_count, first, why=why, delay=delay, error=error, counts=counts, unknown=None,
        next_trigger=Trigger.UNAUTHORIZED_RETRY if first else None, trouble=trouble,
    )  # fmt: skip


_OUTCOMES = {
    Meaning.SUBMITTED: AttemptOutcome.SUBMITTED,
    Meaning.UNAUTHORIZED: AttemptOutcome.UNAUTHORIZED,
    Meaning.REFUSED: AttemptOutcome.REFUSED,
    Meaning.CONFLICT: AttemptOutcome.CONFLICT,
    Meaning.RATE_LIMITED: AttemptOutcome.RATE_LIMITED,
    Meaning.SERVER_ERROR: AttemptOutcome.SERVER_ERROR,
    Meaning.UNUSABLE: AttemptOutcome.UNUSABLE,
}


def _sent(number: int, token: Token, heard: Heard, sent_at: float) -> Sent:
    """How the request went, for its row in `attempts`."""
    duration = int((time.monotonic() - sent_at) * 1000)
    if isinstance(heard, NoResponse):
        outcome = AttemptOutcome.UNKNOWN if heard.arrived else AttemptOutcome.NOT_SENT
        return Sent(number, outcome, duration, error_message=heard.message,
                    token_fingerprint=token.fingerprint, token_source=_source(token))  # fmt: skip
    return Sent(number, _OUTCOMES[heard.meaning], duration, heard.status, heard.error_type, heard.message,
                token.fingerprint, _source(token))  # fmt: skip


def _source(token: Token) -> TokenSource:
    return TokenSource.MINTED if token.minted else TokenSource.CACHED


def _is_401(heard: Heard) -> TypeGuard[Verdict]:
    return isinstance(heard, Verdict) and heard.meaning is Meaning.UNAUTHORIZED
