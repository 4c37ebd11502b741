"""Before a request: open the case, get the tenant's token, and look up a case that may already exist."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from worker.case.codec import reference_in
from worker.case.protection import Protection
from worker.debitura.judge import Meaning, Verdict
from worker.debitura.tokens import Rejected, Token, TokenStore
from worker.errors import ApiError, CaseSealed, MaybeArrived, NotSent
from worker.ledger.states import Trigger
from worker.ledger.writer.claim import ClaimedJob
from worker.ledger.writer.holds import HoldName
from worker.policy.replay_plan import ReplayPlan
from worker.policy.retry import RetryPolicy
from worker.submission.decide import (
    Decision,
    decide_no_attempt_left,
    decide_no_token,
    decide_precheck,
    decide_replay_lookup,
    decide_sealed,
    decide_unsent,
    decide_without_reference,
    needs_replay_lookup,
    plan_of,
)
from worker.submission.lookup import CaseLookup
from worker.telemetry.logging import tenant_digest

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that may be sent."""

    job: ClaimedJob
    """With its case decrypted."""
    token: Token


class Preparation:
    """Prepares jobs for their request. Thread-safe."""

    def __init__(self, protection: Protection, tokens: TokenStore, lookup: CaseLookup, policy: RetryPolicy) -> None:
        self._protection = protection
        self._tokens = tokens
        self._lookup = lookup
        self._policy = policy

    def prepare(self, job: ClaimedJob, may_send: Callable[[], bool]) -> Prepared | Decision:
        """Return what to send, or the decision to send nothing."""
        if not may_send():
            return decide_unsent(job)
        try:
            job = self._open(job)
        except CaseSealed as error:
            return self._sealed(job, error)
        if plan_of(job) is ReplayPlan.ASK_A_PERSON:
            return decide_without_reference(job)
        try:
            token = self._tokens.get(job.external_tenant_id, rejected=_rejected(job))
        except ApiError as error:
            return decide_no_token(job, error, self._policy, chance())
        if (decision := self._precheck(job, token)) is not None:
            return decision
        if self._policy.spent(job.attempt_count):
            return decide_no_attempt_left(job)
        return Prepared(job, token) if may_send() else decide_unsent(job)

    def _open(self, job: ClaimedJob) -> ClaimedJob:
        """Return the job with its case as it was accepted, and with the reference that only the case has."""
        body = self._protection.open_case(job.id, job.case_body)
        return replace(job, case_body=body, creditor_reference=job.creditor_reference or reference_in(body))

    def _sealed(self, job: ClaimedJob, error: CaseSealed) -> Decision:
        log.error(
            "decryption_failed",
            job_id=str(job.id),
            tenant=tenant_digest(job.external_tenant_id),
            key=error.key,
            altered=error.altered,
        )
        return decide_sealed(job, error, chance())

    def _precheck(self, job: ClaimedJob, token: Token) -> Decision | None:
        """Look the case up if it may already exist. None: it may be sent."""
        if job.look_up_first:
            try:
                found = self._lookup.ask(job, token)
            except (NotSent, MaybeArrived) as error:
                found = Verdict(Meaning.SERVER_ERROR, 0, message=str(error))
            except ApiError as error:
                return decide_no_token(job, error, self._policy, chance())
            return decide_precheck(job, found, self._policy, chance())
        if needs_replay_lookup(job, self._policy):
            return decide_replay_lookup(job, self._lookup.look_up(job, token), self._policy)
        return None


def _rejected(job: ClaimedJob) -> Rejected | None:
    """Return the token that must not be used."""
    if job.next_trigger is Trigger.UNAUTHORIZED_RETRY and job.rejected_token:
        # The first 401 came in an earlier claim, and no fresh token could be minted then.
        return Rejected(job.rejected_token, job.rejected_seconds_ago)
    if job.probes & {HoldName.API_KEY, HoldName.REFERRAL_API}:
        # This job tests whether tokens can be minted again, so a cached one won't do.
        return Rejected("", 0.0)
    return None


def chance() -> float:
    """A random number from 0 to 1."""
    return random.random()  # noqa: S311 - jitter is no secret
