"""Ask the API whether it has a case: by its creditorReference, when the Idempotency-Key alone does not decide."""

from __future__ import annotations

import time

import structlog
from sqlalchemy import Engine

from worker.debitura.apis import find_case
from worker.debitura.http import HttpClient
from worker.debitura.judge import Meaning, Verdict, judge_lookup
from worker.debitura.tokens import Rejected, Token, TokenStore
from worker.errors import ApiError
from worker.ledger.database import run_with_retry
from worker.ledger.states import Api
from worker.ledger.writer.claim import ClaimedJob
from worker.ledger.writer.pace import take
from worker.policy.rate_limit import Pace
from worker.submission.redact import scrubbed
from worker.telemetry.logging import tenant_digest
from worker.telemetry.tracing import request_span

log = structlog.get_logger(__name__)


class CaseLookup:
    """GET /cases/by-creditor-reference/…, within the Customer API's pace. Thread-safe."""

    def __init__(self, engine: Engine, client: HttpClient, tokens: TokenStore, *, pace: Pace) -> None:
        self._engine = engine
        self._client = client
        self._tokens = tokens
        self._pace = pace

    def look_up(self, job: ClaimedJob, token: Token) -> Verdict:
        """As `ask`, with status 0 if no answer came."""
        try:
            return self.ask(job, token)
        except ApiError as error:
            return Verdict(Meaning.SERVER_ERROR, 0, message=str(error))

    def ask(self, job: ClaimedJob, token: Token) -> Verdict:
        """Return the API's answer, judged like any other. Raises what that request and the mint raise.

        A 401 here is no verdict on the link: the token is renewed, and the look-up made once more.
        """
        asked_at = time.monotonic()
        self._count()
        found = self._find(job, token)
        if found.meaning is Meaning.UNAUTHORIZED:
            self._tokens.reject(job.external_tenant_id, token.fingerprint)
            refused = Rejected(token.fingerprint, time.monotonic() - asked_at)
            fresh = self._tokens.get(job.external_tenant_id, rejected=refused)
            self._count()
            found = self._find(job, fresh)
        log.info(
            "case_looked_up",
            job_id=str(job.id),
            tenant=tenant_digest(job.external_tenant_id),
            http_status=found.status,
        )
        return found

    def _find(self, job: ClaimedJob, token: Token) -> Verdict:
        assert job.creditor_reference is not None
        with request_span("GET", "/cases/by-creditor-reference/{creditorReference}") as finding:
            found = judge_lookup(find_case(self._client, token=token.value, creditor_reference=job.creditor_reference))
            finding.note(http__response__status_code=found.status)
        return scrubbed(found, job.case_body)

    def _count(self) -> None:
        """Count this request beside the released one. If the ledger can't be reached, the API's own limit remains."""
        run_with_retry(
            self._engine,
            lambda connection: take(connection, Api.CUSTOMER, self._pace, 1),
            until=lambda: True,
            otherwise=None,
        )
