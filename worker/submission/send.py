"""Send the request: POST /cases, and once more with a fresh token after a 401.

The rule of 401 to the letter: drop the refused token, mint a fresh one, send once more. There is never a third request
(referral-partners/getting-started/authentication). No SQL transaction is open while a request is under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection, Engine

from worker.debitura.apis import post_case
from worker.debitura.http import HttpClient
from worker.debitura.judge import judge
from worker.debitura.tokens import Rejected, Token, TokenStore
from worker.errors import ApiError, LeaseLost, MaybeArrived, NotSent
from worker.ledger.database import run_with_retry
from worker.ledger.states import Api, AttemptOutcome, TokenSource, Trigger
from worker.ledger.writer.claim import ClaimedJob, FirstUnauthorized, open_second_attempt
from worker.ledger.writer.pace import take
from worker.ledger.writer.record import Sent
from worker.policy.rate_limit import Pace
from worker.policy.retry import RetryPolicy
from worker.submission.decide import Answer, Decision, NoResponse, Outcome, decide_no_token, is_401, needs_lookup
from worker.submission.lookup import CaseLookup
from worker.submission.prepare import Prepared, chance
from worker.submission.redact import scrubbed
from worker.telemetry.metrics import count, definitions
from worker.telemetry.tracing import current_traceparent, request_span


class Sender:
    """Sends prepared jobs. Thread-safe."""

    def __init__(
        self, engine: Engine, customer: HttpClient, tokens: TokenStore, lookup: CaseLookup,
        *, pace: Pace, policy: RetryPolicy, worker: str, trace_to_api: bool,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._customer = customer
        self._tokens = tokens
        self._lookup = lookup
        self._pace = pace
        self._policy = policy
        self._worker = worker
        self._trace_to_api = trace_to_api

    def send(self, prepared: Prepared, *, lease: UUID, may_send: Callable[[], bool]) -> Answer | Decision:
        """Return the request's answer, with a look-up if the answer alone does not decide.

        Returns a decision instead if no token could be had for the request after a 401. Raises LeaseLost if another
        worker has the job now, and what the database raises when the second attempt is opened.
        """
        answer = self._request(prepared.job, prepared.job.request_count, prepared.token)
        token = prepared.token
        if is_401(answer.outcome) and prepared.job.next_trigger is not Trigger.UNAUTHORIZED_RETRY:
            rejected = Rejected(token.fingerprint, time.monotonic() - answer.sent_at)
            try:
                token = self._tokens.get(prepared.job.external_tenant_id, rejected=rejected)
            except ApiError as error:
                return decide_no_token(prepared.job, error, self._policy, chance(), first=answer.sent)
            number = self._open_second(prepared.job, answer.sent, lease, may_send)
            count(definitions.UNAUTHORIZED_RETRIES)
            answer = self._request(prepared.job, number, token)
        if needs_lookup(answer.job, answer.outcome, self._policy):
            answer = replace(answer, found=self._lookup.look_up(answer.job, token))
        return answer

    def _request(self, job: ClaimedJob, number: int, token: Token) -> Answer:
        """Send one POST /cases, recorded as the attempt of that number. A refused token leaves the cache."""
        if job.next_trigger is Trigger.UNAUTHORIZED_RETRY and number == job.request_count:
            count(definitions.UNAUTHORIZED_RETRIES)
        sent_at = time.monotonic()
        outcome = self._post(job, token)
        if is_401(outcome):
            self._tokens.reject(job.external_tenant_id, token.fingerprint)
        return Answer(job, sent_at, _sent(number, token, outcome, sent_at), outcome)

    def _post(self, job: ClaimedJob, token: Token) -> Outcome:
        try:
            with request_span("POST", "/cases") as posting:
                reply = post_case(
                    self._customer, token=token.value, submission_key=str(job.submission_key),
                    body=job.case_body.encode(), traceparent=current_traceparent() if self._trace_to_api else None,
                )  # fmt: skip
                posting.note(http__response__status_code=reply.status)
        except NotSent as error:
            return NoResponse(arrived=False, message=str(error))
        except MaybeArrived as error:
            return NoResponse(arrived=True, message=str(error))
        return scrubbed(judge(reply), job.case_body)

    def _open_second(self, job: ClaimedJob, first: Sent, lease: UUID, may_send: Callable[[], bool]) -> int:
        """Record the first 401 and open the second attempt, in one transaction. Returns its number."""
        unauthorized = FirstUnauthorized(
            number=first.number, error_type=first.error_type, error_message=first.error_message,
            duration_ms=first.duration_ms, token_fingerprint=first.token_fingerprint, token_source=first.token_source,
        )  # fmt: skip

        def work(connection: Connection) -> int | None:
            take(connection, Api.CUSTOMER, self._pace, 1)
            return open_second_attempt(connection, job.id, unauthorized, lease=lease, worker=self._worker)

        number = run_with_retry(self._engine, work, until=lambda: not may_send())
        if number is None:
            raise LeaseLost(f"job {job.id} was taken back while its token was renewed")
        count(definitions.SUBMISSIONS, first.outcome)
        return number


def _sent(number: int, token: Token, outcome: Outcome, sent_at: float) -> Sent:
    """Return how the request went, for its row in `attempts`."""
    source = TokenSource.MINTED if token.minted else TokenSource.CACHED
    answered_at = time.monotonic()
    duration = int((answered_at - sent_at) * 1000)
    if isinstance(outcome, NoResponse):
        kind = AttemptOutcome.UNKNOWN if outcome.arrived else AttemptOutcome.NOT_SENT
        return Sent(
            number, kind, duration, error_message=outcome.message, token_fingerprint=token.fingerprint,
            token_source=source, answered_at=answered_at,
        )  # fmt: skip
    return Sent(
        number, AttemptOutcome(outcome.meaning.value), duration,
        http_status=outcome.status, error_type=outcome.error_type, error_message=outcome.message,
        token_fingerprint=token.fingerprint, token_source=source, answered_at=answered_at,
    )  # fmt: skip
