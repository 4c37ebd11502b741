"""One attempt, end to end, in four steps: prepare, send, decide, and hand over to the recorder.

    prepare   open the case, get the token, look up a case that may exist       worker.submission.prepare
    send      POST /cases; after a 401 once more with a fresh token             worker.submission.send
    decide    pure: from the answer to the job's next state                     worker.submission.decide
    record    with the batch's other results, in one transaction                worker.submission.recorder

A batch claims the job before the attempt; its recorder writes the decision after it.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Engine

from worker.debitura.http import HttpClient
from worker.debitura.token_cache import RedisTokenCache
from worker.debitura.tokens import TokenStore
from worker.ledger.states import State
from worker.ledger.writer.claim import ClaimedJob
from worker.policy.brake import BrakePolicy
from worker.policy.rate_limit import Pace
from worker.policy.retry import RetryPolicy
from worker.settings import Settings
from worker.submission.decide import Decision, decide
from worker.submission.lookup import CaseLookup
from worker.submission.mint import Mint
from worker.submission.prepare import Preparation, chance
from worker.submission.send import Sender
from worker.telemetry.logging import tenant_digest
from worker.telemetry.tracing import parse_traceparent, span

#: Seconds to wait for the mint. Other threads may need the same token, so it is shorter than a submission's timeout.
MINT_TIMEOUT = 10.0


class Submitter:
    """What one process needs to submit: kept-alive connections to both APIs, and the token store. Thread-safe."""

    def __init__(self, settings: Settings, engine: Engine, *, worker: str) -> None:
        pace = Pace.parse(settings.rate_limits)
        self.brake = BrakePolicy(settings.brake_jobs, settings.brake_tenants)
        self.policy = RetryPolicy(settings.max_attempts, settings.retry_base, settings.retry_max)
        mint_timeout = min(MINT_TIMEOUT, settings.request_timeout)
        customer = HttpClient(settings.customer_api_url, timeout=settings.request_timeout, connections=settings.threads)
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
        lookup = CaseLookup(engine, customer, self.tokens, pace=pace)
        self._preparation = Preparation(settings.protection, self.tokens, lookup, self.policy)
        self._sender = Sender(
            engine, customer, self.tokens, lookup, pace=pace, policy=self.policy, worker=worker,
            trace_to_api=settings.trace_to_api,
        )  # fmt: skip

    def attempt(self, job: ClaimedJob, *, lease: UUID, may_send: Callable[[], bool]) -> Decision:
        """Submit one claimed job. Once `may_send` returns false, send nothing; the job then goes back as it was.

        Raises LeaseLost if another worker has the job now, the exception of any bug, and what the database raises when
        the second attempt is opened.
        """
        with span(
            "attempt", kind="consumer", parent=parse_traceparent(job.trace_context), job_id=str(job.id),
            tenant=tenant_digest(job.external_tenant_id), attempt=job.request_count, trigger=str(job.next_trigger),
        ) as attempting:  # fmt: skip
            decision = self._attempt(job, lease, may_send)
            attempting.note(outcome=str(decision.result.state), reason=decision.result.reason)
            if decision.result.state is State.DEAD:
                attempting.fail(str(decision.result.reason))
        return decision

    def _attempt(self, job: ClaimedJob, lease: UUID, may_send: Callable[[], bool]) -> Decision:
        prepared = self._preparation.prepare(job, may_send)
        if isinstance(prepared, Decision):
            return prepared
        answer = self._sender.send(prepared, lease=lease, may_send=may_send)
        if isinstance(answer, Decision):
            return answer
        return decide(answer, self.policy, chance())
