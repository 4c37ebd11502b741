"""The types passed between the socket and the APIs: a request, a reply, and a delayed reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

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
