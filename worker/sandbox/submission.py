"""POST /cases: check the token, Idempotency-Key, fields and business rules, then accept the case."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Never

from worker.sandbox import business, tags
from worker.sandbox.cases import Case, new_identity
from worker.sandbox.customer import authorize
from worker.sandbox.invoices import Facts, facts, invoice
from worker.sandbox.messages import PROBLEM, Outcome, Pending, Reply, Request, api_error, business_errors, dump, problem
from worker.sandbox.rules import field_errors
from worker.sandbox.state import MAX_KEY_LENGTH, State, Use
from worker.sandbox.tokens import Token


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_REPLAYED = ((b"idempotent-replayed", b"true"),)


def post_case(state: State, request: Request, _argument: str, delay: float) -> Outcome:
    """Accept a case, or say why not. With a delay (in seconds), the key is in flight until the response is created."""
    token = authorize(state, request)
    if isinstance(token, Reply):
        return token
    key = request.headers.get(b"idempotency-key", b"").decode("latin-1")
    if len(key) > MAX_KEY_LENGTH:
        message = f"The Idempotency-Key must not exceed {MAX_KEY_LENGTH} characters."
        return Reply(400, dump({"Idempotency-Key": [message]}))
    body = _parse(request.body)
    if isinstance(body, Reply):
        return body
    submission = Submission(state, token, key, body, sha256(request.body).digest())
    if instead := tags.answer_instead(submission.tag, first_time=submission.first_time):
        return instead
    if key and (earlier := state.keys.claim(token.creditor_id, key, submission.digest)) is not None:
        return submission.answer_again(earlier)
    delay += submission.tag.delay_seconds
    return Pending(delay, submission.decide) if delay else submission.decide()


class Submission:
    """One authorized request to create a case."""

    __slots__ = ("body", "digest", "first_time", "key", "state", "tag", "token")

    def __init__(self, state: State, token: Token, key: str, body: dict[str, Any], digest: bytes) -> None:
        self.state = state
        self.token = token
        self.key = key
        self.body = body
        self.digest = digest
        self.tag = tags.parse(body.get("tag"))
        self.first_time = self.tag is not tags.NO_TAG and state.is_first_time(token.tenant, digest + key.encode())

    def answer_again(self, earlier: Use) -> Reply:
        """The response for a key that was used before."""
        if earlier.digest != self.digest:
            conflict = business.error("IdempotencyConflict", self.token.tenant)
            return Reply(422, business_errors([conflict]))
        if not earlier.status:
            message = "The first request with this Idempotency-Key is still being processed."
            return Reply(409, api_error("Conflict", message))
        reply = Reply(earlier.status, earlier.body, headers=_REPLAYED)
        return tags.disguise(reply, self.tag, first_time=False) if earlier.status == 200 else reply

    def decide(self) -> Reply:
        """Check fields and rules, accept the case, and store a terminal response under the key."""
        reply = Reply(500)
        try:
            reply = self._judge()
        finally:
            if self.key and reply.status in (200, 422):
                self.state.keys.settle(self.token.creditor_id, self.key, reply.status, reply.body)
            elif self.key:
                self.state.keys.release(self.token.creditor_id, self.key)
        if reply.status == 200:
            return tags.disguise(reply, self.tag, first_time=self.first_time)
        return reply

    def _judge(self) -> Reply:
        if errors := field_errors(self.body):
            return Reply(400, dump(errors))
        read = facts(self.body)
        tenant = self.token.tenant
        against = business.errors_against(
            tenant=tenant,
            link=self.state.link(tenant),
            country=read.country,
            reference_used=self.state.cases.is_used(tenant, read.creditor_reference),
            allow_pending=read.allow_pending,
            asked_for=self.tag.business_type,
        )
        if not against:
            return self._take(read)
        signing = any(error.type in business.SIGNED_BY_CREDITOR for error in against)
        url = business.signing_url(tenant, self.body) if signing else None
        return Reply(422, business_errors(against, url))

    def _take(self, read: Facts) -> Reply:
        tenant = self.token.tenant
        case_id, reference = new_identity()
        now = self.state.clock()
        pending = self.state.link(tenant) == "unfinished"
        answer = invoice(
            self.body,
            read,
            case_id=case_id,
            reference=reference,
            creditor_id=self.token.creditor_id,
            tenant=tenant,
            created_at=now,
            signing_url=business.signing_url(tenant, self.body) if pending else None,
        )
        body = dump(answer)
        self.state.cases.add(
            Case(case_id, reference, read.creditor_reference, tenant, self.key or None, self.digest, now, body)
        )
        return Reply(200, body)


def _parse(raw: bytes) -> dict[str, Any] | Reply:
    try:
        body = _DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        return _not_a_case("The request body is not valid JSON.")
    return body if isinstance(body, dict) else _not_a_case("The request body must be a JSON object.")


def _not_a_case(detail: str) -> Reply:
    return Reply(400, problem(400, "Bad Request", detail), PROBLEM)
