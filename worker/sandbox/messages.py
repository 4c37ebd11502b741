"""The types passed between the socket and the APIs: a request, a reply, and a delayed reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

JSON = b"application/json; charset=utf-8"
PROBLEM = b"application/problem+json; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"


def _ignore_status(_status: int) -> None:
    """The default until the request log sets its own callback."""


@dataclass(slots=True)
class Request:
    """One parsed request. `headers` has lower-case names; `path` is as sent (still percent-encoded)."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool = True
    on_sent: Callable[[int], None] = _ignore_status
    """Called with the status if and when a response is sent."""


class Delivery(Enum):
    """How a reply reaches the client, or fails to."""

    ANSWER = "answer"
    RESET = "reset"
    """No response: the connection is reset (RST)."""
    HANG = "hang"
    """No response: the connection stays open and silent."""
    TRUNCATE = "truncate"
    """Half of the announced body, then the connection closes."""
    DRIP = "drip"
    """Headers at once, then the body in small pieces over `drip_seconds`."""


@dataclass(slots=True)
class Reply:
    """The response to send. Mutable, because faults and content negotiation change it."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    delivery: Delivery = Delivery.ANSWER
    drip_seconds: float = 0.0


@dataclass(slots=True)
class Pending:
    """A reply that is created after `delay` seconds, even if the client has disconnected by then."""

    delay: float
    finish: Callable[[], Reply]


Outcome = Reply | Pending


def then(outcome: Outcome, step: Callable[[Reply], Reply]) -> Outcome:
    """The outcome with `step` applied to its reply, now or when it is created."""
    if isinstance(outcome, Reply):
        return step(outcome)
    finish = outcome.finish
    return Pending(outcome.delay, lambda: step(finish()))


_ENCODER = json.JSONEncoder(separators=(",", ":"))

HUGE_BYTES = 20_000_000

GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>"
    b"\r\n<hr><center>gateway</center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True)
class BusinessError:
    """A business rule that blocks the case until a person acts; `solution_url` is the page for that."""

    type: str
    message: str
    solution_url: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """BusinessErrorApiDTO of the published description."""
        return {"type": self.type, "message": self.message, "solutionUrl": self.solution_url}


def dump(value: Any) -> bytes:
    """Compact JSON with non-ASCII characters escaped, as the .NET serializer writes by default."""
    return _ENCODER.encode(value).encode()


def api_error(error: str, message: str, errors: Iterable[BusinessError] = ()) -> bytes:
    """ApiErrorResponse: the legacy fields and the canonical list."""
    return dump({"error": error, "message": message, "businessErrors": [e.as_json() for e in errors]})


def business_errors(errors: Iterable[BusinessError], signing_url: str | None = None) -> bytes:
    """The body of a 422; `signingHandoff` is present only if something must be signed."""
    body: dict[str, Any] = {"businessErrors": [e.as_json() for e in errors]}
    if signing_url is not None:
        body["signingHandoff"] = {"combinedSigningUrl": signing_url}
    return dump(body)


def problem(status: int, title: str, detail: str) -> bytes:
    """RFC 7807 problem details."""
    return dump({"type": "https://tools.ietf.org/html/rfc9110", "title": title, "status": status, "detail": detail})


def rate_limited(body_fields: dict[str, Any]) -> bytes:
    """The body of a 429 (developer-concepts/rate-limiting). `body_fields` normally holds `retryAfter`, in seconds."""
    message = "Too many requests. Please try again later."
    return dump({"error": "rate_limit_exceeded", "message": message, **body_fields})


def unauthorized(message: str) -> Reply:
    """A 401 with a JSON body, the same for both APIs."""
    return Reply(401, dump({"error": "unauthorized", "message": message}))


def of_status(status: int) -> Reply:
    """A plausible response for any status, as the API or a gateway in front of it would send."""
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    reply = Reply(status, api_error(phrase.replace(" ", ""), f"The sandbox was asked for a {status}."))
    match status:
        case 502 | 503 | 504:
            page = GATEWAY_PAGE.replace(b"502 Bad Gateway", f"{status} {phrase}".encode())
            reply = Reply(status, page, HTML)
        case 413 | 414 | 415 | 418 | 431:
            reply = Reply(status, problem(status, phrase, f"The sandbox was asked for a {status}."), PROBLEM)
        case 400:
            reply = Reply(400, dump({"debtor.email": ["Invalid email format"]}))
        case 401:
            reply = unauthorized("The access token is expired or invalid.")
        case 422:
            error = BusinessError("NoPartnerAvailable", "No collection partner covers the debtor's country.")
            reply = Reply(422, business_errors([error]))
        case 429:
            reply = Reply(429, rate_limited({"retryAfter": 42.0}))
        case _ if 300 <= status < 400:
            # A client that follows this redirect gets a 200 that says nothing about the case.
            reply = Reply(status, headers=((b"location", b"/_sandbox/health"),))
    return reply


def inflate(body: bytes) -> bytes:
    """The same JSON object, padded to about 20 MB."""
    filler = b"x" * HUGE_BYTES
    if body.endswith(b"}") and body != b"{}":
        return body[:-1] + b',"padding":"' + filler + b'"}'
    return b'{"padding":"' + filler + b'"}'
