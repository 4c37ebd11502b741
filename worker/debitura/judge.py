"""Judge a response: a pure function from an HTTP response to its meaning.

Sources: developer-concepts/error-handling, referral-partners/error-reference, developer-concepts/rate-limiting,
developer-concepts/idempotency. A gateway may reply instead of the API, with HTML or nothing, so assume no format.
"""

from __future__ import annotations

import email.utils
import json
import math
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from worker.case.comparison import FoundCase, found_case
from worker.debitura.http import Reply

#: The API's error types that need special handling.
DUPLICATE_REFERENCE = "DuplicateReference"
IDEMPOTENCY_CONFLICT = "IdempotencyConflict"

#: Seconds to wait after a 429: the API's shortest window if it gives no usable number, at most its longest window.
DEFAULT_RETRY_AFTER = 60.0
MAX_RETRY_AFTER = 86_400.0
MIN_RETRY_AFTER = 1.0

#: Maximum characters stored of one text from the API.
MAX_TEXT = 4000


class Meaning(StrEnum):
    """The meaning of a response to POST /cases."""

    SUBMITTED = "submitted"
    """The case exists; the response has its id and reference."""
    UNAUTHORIZED = "unauthorized"
    """The token was rejected (401)."""
    REFUSED = "refused"
    """Final until a person acts; `reason` says why."""
    CONFLICT = "conflict"
    """409: another request with this key is in progress. Retry with the same key."""
    RATE_LIMITED = "rate_limited"
    """429: wait `retry_after` seconds."""
    SERVER_ERROR = "server_error"
    """5xx, 408, 425, or not the API's response: a fault of the API or the network. Retry with the same key."""
    UNUSABLE = "unusable"
    """A 2xx without a case id: the case may exist, but the response does not identify it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A response's meaning and details."""

    meaning: Meaning
    status: int
    reason: str | None = None
    """The dead-letter reason if this response is final, or if it is still the result of the last attempt."""
    error_type: str | None = None
    message: str | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)
    business_errors: list[dict[str, str | None]] = field(default_factory=list)
    solution_url: str | None = None
    combined_signing_url: str | None = None
    retry_after: float = 0.0
    case_id: str | None = None
    case_reference: str | None = None
    found: FoundCase | None = None
    """Of a look-up that found a case: what the API says of it."""
    decides: bool = False
    """Whether it determines the outcome of all requests with this key so far: otherwise the API would have replayed a
    stored response (developer-concepts/idempotency)."""
    excerpt: str | None = None
    """The beginning of a body that is not the API's documented JSON, for a person to read."""

    def describe(self) -> str:
        """One line of text, e.g. `422 MissingKycVerification: Verify your identity first`."""
        error = ": ".join(part for part in (self.error_type, self.message) if part)
        return f"{self.status} {error}".strip()

    def detail(self) -> dict[str, Any]:
        """The details to store in the dead letter."""
        everything = {
            "status": self.status,
            "type": self.error_type,
            "message": self.message,
            "fields": self.fields,
            "businessErrors": self.business_errors,
            "combinedSigningUrl": self.combined_signing_url,
            "excerpt": self.excerpt,
        }
        return {name: value for name, value in everything.items() if value not in (None, {}, [])}


def judge(reply: Reply) -> Verdict:
    """Judge a response to POST /cases, by status first: a proxy's body is less reliable than its status."""
    status, content = reply.status, _parse(reply)
    if 200 <= status < 300:
        return _judge_success(reply, content)
    error = _parse_error(reply, content)
    match status:
        case 401:
            return Verdict(Meaning.UNAUTHORIZED, status, **error)
        case 409:
            return Verdict(Meaning.CONFLICT, status, **error)
        case 429:
            seconds, asked = retry_after(reply), _asked_wait(reply)
            error["message"] = f"{error['message']} (asks to wait {asked}; waiting {seconds:g} s)"
            return Verdict(Meaning.RATE_LIMITED, status, retry_after=seconds, **error)
        case 408 | 425:
            return Verdict(Meaning.SERVER_ERROR, status, **error)
        case _ if status >= 500:
            return Verdict(Meaning.SERVER_ERROR, status, **error)
        case _ if status < 400 or not is_api_error(reply):
            # A redirect, or a page from a firewall or gateway: it says nothing about the case.
            return Verdict(Meaning.SERVER_ERROR, status, reason="unexpected_response", **error)
    # A conflict with another body does not determine the outcome of that body.
    decides = status in {400, 422} and error["error_type"] != IDEMPOTENCY_CONFLICT
    return Verdict(Meaning.REFUSED, status, reason=_reason(status, error), decides=decides, **error)


def judge_lookup(reply: Reply) -> Verdict:
    """What an answer to GET /cases/by-creditor-reference/… means; a found case comes with what the API says of it."""
    verdict = judge(reply)
    return replace(verdict, found=found_case(_parse(reply))) if verdict.meaning is Meaning.SUBMITTED else verdict


def is_api_error(reply: Reply) -> bool:
    """Whether an error's body is the API's own JSON, in any documented form (developer-concepts/error-handling).

    An empty body, a web page or other JSON comes from a gateway between us and the API. (A 401 always counts as the
    API's.)
    """
    return "excerpt" not in _parse_error(reply, _parse(reply))


def _judge_success(reply: Reply, content: Any) -> Verdict:
    case_id = content.get("id") if isinstance(content, dict) else None
    if not isinstance(case_id, str) or not _is_uuid(case_id):
        return Verdict(
            Meaning.UNUSABLE,
            reply.status,
            reason="unexpected_response",
            message="a success without a case id" if reply.whole else "a success with an incomplete body",
            excerpt=_excerpt(reply.body),
        )
    return Verdict(
        Meaning.SUBMITTED,
        reply.status,
        case_id=case_id,
        case_reference=_text(content.get("reference")),
        solution_url=_web_address(content.get("solutionUrl")),
        combined_signing_url=_signing_url(content),
        decides=True,
    )


def _reason(status: int, error: dict[str, Any]) -> str:
    if error["error_type"] in {DUPLICATE_REFERENCE, IDEMPOTENCY_CONFLICT}:
        return "business_rule"  # documented as 400 or 422; the fields are valid
    known = {400: "validation", 413: "validation", 403: "forbidden", 404: "not_found", 422: "business_rule"}
    return known.get(status, "unexpected_response")


def _parse_error(reply: Reply, content: Any) -> dict[str, Any]:
    """Parse the error in any documented form: businessErrors, {error, message}, RFC 7807, field lists."""
    unknown = {"error_type": None, "message": _no_json_message(reply), "excerpt": _excerpt(reply.body)}
    if not isinstance(content, dict):
        return unknown
    business = _business_errors(content.get("businessErrors"))
    # Of several errors, prefer the type that needs special handling.
    first = next((e for e in business if e["type"] == DUPLICATE_REFERENCE), business[0] if business else {})
    fields = _fields(content)
    legacy = {name: _text(content.get(name)) for name in ("error", "message", "type", "title", "detail")}
    # businessErrors is canonical; top-level error and message are legacy free text, title and detail are RFC 7807's.
    message = first.get("message") or legacy["message"] or legacy["detail"] or legacy["title"] or legacy["error"]
    if fields and not business:
        message = "; ".join(f"{name}: {', '.join(texts)}" for name, texts in fields.items())[:MAX_TEXT]
    if not (message or business):
        return unknown
    return {
        "error_type": first.get("type") or legacy["type"] or (legacy["error"] if legacy["error"] != message else None),
        "message": message,
        "fields": fields,
        "business_errors": business,
        "solution_url": next((e["solutionUrl"] for e in business if e["solutionUrl"]), None),
        "combined_signing_url": _signing_url(content),
    }


def _business_errors(value: Any) -> list[dict[str, str | None]]:
    if not isinstance(value, list):
        return []
    return [
        {
            "type": _text(entry.get("type")),
            "message": _text(entry.get("message")),
            "solutionUrl": _web_address(entry.get("solutionUrl")),
        }
        for entry in value[:50]
        if isinstance(entry, dict)
    ]


def _fields(content: dict[str, Any]) -> dict[str, list[str]]:
    """Field errors: the object itself (`{"debtor.email": ["Invalid"]}`), or RFC 7807's `errors` member."""
    nested = content.get("errors")
    source = nested if isinstance(nested, dict) else content
    found = {}
    for name, texts in list(source.items())[:200]:
        if isinstance(texts, list) and texts and all(isinstance(t, str) for t in texts):
            found[clean(name)[:200]] = [clean(t)[:MAX_TEXT] for t in texts[:20]]
    return found


def _signing_url(content: dict[str, Any]) -> str | None:
    handoff = content.get("signingHandoff")
    return _web_address(handoff.get("combinedSigningUrl")) if isinstance(handoff, dict) else None


def retry_after(reply: Reply) -> float:
    """Seconds to wait after a 429, from the body's `retryAfter` or a Retry-After header (seconds or a date).

    The documented place is the body (developer-concepts/rate-limiting). Missing, negative, absurd or non-numeric values
    are clamped to MIN_RETRY_AFTER … MAX_RETRY_AFTER.
    """
    content = _parse(reply)
    value = content.get("retryAfter") if isinstance(content, dict) else None
    seconds = _number(value)
    if seconds is None and reply.retry_after:
        seconds = _number(reply.retry_after)
        if seconds is None:
            seconds = _seconds_until(reply.retry_after)
    if seconds is None or seconds < 0:
        return DEFAULT_RETRY_AFTER
    return min(max(seconds, MIN_RETRY_AFTER), MAX_RETRY_AFTER)


def _asked_wait(reply: Reply) -> str:
    """The raw wait that a 429 asks for, for the stored message."""
    content = _parse(reply)
    value = content.get("retryAfter", reply.retry_after) if isinstance(content, dict) else reply.retry_after
    return "nothing in particular" if value is None else clean(json.dumps(value))[:50]


def _seconds_until(date: str) -> float | None:
    try:
        moment = email.utils.parsedate_tz(date)
        return email.utils.mktime_tz(moment) - time.time() if moment else None
    except (ValueError, OverflowError, IndexError, TypeError):  # e.g. the year 99999, which the parser cannot handle
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _parse(reply: Reply) -> Any:
    """The body as JSON, or None (HTML, empty, incomplete, nested too deeply)."""
    if not reply.body:
        return None
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return None


def _no_json_message(reply: Reply) -> str:
    if not reply.body:
        return "a response without a body"
    return "a response that is not the API's JSON" if reply.whole else "a response with an incomplete body"


def clean(value: str) -> str:
    """Text that PostgreSQL can store: no NUL, no lone surrogates."""
    return value.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def _text(value: Any) -> str | None:
    return clean(value)[:MAX_TEXT] if isinstance(value, str) and value else None


def _excerpt(body: bytes) -> str | None:
    return clean(body[:1000].decode("utf-8", "replace")) or None


def _web_address(value: Any) -> str | None:
    """The value if it is an http(s) URL, else None: users see it as a link."""
    text = _text(value)
    return text if text and text.lower().startswith(("https://", "http://")) else None


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True
