"""Rules that make the APIs fail, independent of the request's content.

Two kinds: those that *replace* the real response (no case is created), and those that *alter* the real response on its
way back (the case is created).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from worker.sandbox.messages import GATEWAY_PAGE, HTML, Delivery, Reply, api_error, inflate, of_status, rate_limited

ENDPOINTS = ("cases", "token", "lookup", "clients", "*")
INSTEAD = ("status", "reset-before", "hang", "html", "retry-after", "conflict")
AFTERWARDS = ("reset-after", "slow-headers", "slow-body", "empty", "truncated", "huge")

_FIELDS: dict[str, Callable[[Any], bool]] = {
    "endpoint": lambda v: v in ENDPOINTS,
    "kind": lambda v: v in INSTEAD + AFTERWARDS,
    "status": lambda v: type(v) is int and 200 <= v <= 599,
    "retryAfter": lambda _v: True,
    "retryAfterHeader": lambda v: isinstance(v, str) and v.isascii() and v.isprintable(),
    "delayMs": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v >= 0,
    "tenant": lambda v: isinstance(v, str),
    "times": lambda v: type(v) is int and v > 0,
    "probability": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1,
    "seed": lambda v: type(v) is int,
    "body": lambda v: isinstance(v, str),
    "contentType": lambda v: isinstance(v, str) and v.isascii() and v.isprintable(),
}


class Rule:
    """One fault rule, as given to `POST /_sandbox/faults`. Raises ValueError for unknown or invalid fields."""

    def __init__(self, spec: object) -> None:
        if not isinstance(spec, dict) or "kind" not in spec:
            raise ValueError("a rule is an object with at least a kind")
        for name, value in spec.items():
            if name not in _FIELDS:
                raise ValueError(f"unknown field {name!r}; known: {', '.join(_FIELDS)}")
            if value is None and name not in ("retryAfter", "kind", "endpoint"):
                continue
            if not _FIELDS[name](value):
                raise ValueError(f"bad value for {name}: {value!r}")
        if spec["kind"] == "status" and spec.get("status") is None:
            raise ValueError("the kind status needs a status")
        self.spec: dict[str, Any] = spec
        self.kind: str = spec["kind"]
        self.endpoint: str = spec.get("endpoint", "*")
        self.left: int | None = spec.get("times")
        self.hits = 0
        self._random = random.Random(spec.get("seed", 0))  # noqa: S311 - must be repeatable, not secret

    def hit(self, endpoint: str, tenant: str | None) -> bool:
        """Whether the rule applies to this request; counts it if so."""
        if self.endpoint not in ("*", endpoint) or self.left == 0:
            return False
        wanted = self.spec.get("tenant")
        if wanted is not None and wanted != tenant:
            return False
        probability = self.spec.get("probability")
        if probability is not None and self._random.random() >= probability:
            return False
        self.hits += 1
        if self.left is not None:
            self.left -= 1
        return True

    @property
    def delay_seconds(self) -> float:
        """The delay of the whole response (`slow-headers`), in seconds."""
        return self._delay if self.kind == "slow-headers" else 0.0

    @property
    def _delay(self) -> float:
        return (self.spec.get("delayMs") or 0) / 1000

    def instead(self) -> Reply | None:
        """The reply that replaces the real one, without creating a case; None for the other kind."""
        reply: Reply | None = None
        match self.kind:
            case "status":
                reply = self._overridden(of_status(self.spec["status"]))
            case "html":
                reply = self._overridden(Reply(self.spec.get("status") or 200, GATEWAY_PAGE, HTML))
            case "conflict":
                reply = Reply(409, api_error("Conflict", "The request conflicts with another one."))
            case "retry-after":
                reply = self._too_many()
            case "reset-before":
                reply = Reply(0, delivery=Delivery.RESET)
            case "hang":
                reply = Reply(0, delivery=Delivery.HANG)
        return reply

    def afterwards(self, reply: Reply) -> Reply:
        """Alter the real reply on its way back."""
        match self.kind:
            case "reset-after":
                reply.delivery = Delivery.RESET
            case "truncated":
                reply.delivery = Delivery.TRUNCATE
            case "slow-body":
                reply.delivery, reply.drip_seconds = Delivery.DRIP, self._delay
            case "empty":
                reply.body = b""
            case "huge":
                reply.body = inflate(reply.body)
        return reply

    def _too_many(self) -> Reply:
        fields = {"retryAfter": self.spec["retryAfter"]} if "retryAfter" in self.spec else {}
        reply = self._overridden(Reply(self.spec.get("status") or 429, rate_limited(fields)))
        header = self.spec.get("retryAfterHeader")
        if header is not None:
            reply.headers = ((b"retry-after", header.encode()),)
        return reply

    def _overridden(self, reply: Reply) -> Reply:
        if self.spec.get("body") is not None:
            reply.body = self.spec["body"].encode()
        if self.spec.get("contentType") is not None:
            reply.content_type = self.spec["contentType"].encode()
        return reply

    def as_json(self) -> dict[str, Any]:
        """The rule as given, and how often it was applied."""
        return {**self.spec, "hits": self.hits}


class Faults:
    """The list of rules; the first one that applies to a request is used."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def replace(self, specs: object) -> None:
        """Replace all rules. Raises ValueError, and keeps the old rules, if any new one is invalid."""
        if not isinstance(specs, list):
            raise ValueError("rules must be a list")  # noqa: TRY004 - clients get one kind of error
        self.rules = [Rule(spec) for spec in specs]

    def pick(self, endpoint: str, tenant: str | None) -> Rule | None:
        """The rule for this request, if any."""
        return next((rule for rule in self.rules if rule.hit(endpoint, tenant)), None)
