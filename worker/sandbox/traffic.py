"""The log of API requests and the statuses sent."""

from __future__ import annotations

from collections import Counter, deque
from hashlib import sha256
from typing import Any

from worker.sandbox.messages import Request

MAX_ENTRIES = 200_000
NO_ANSWER = "none"


class Entry:
    """One request. `at` is in seconds since the epoch; `status` is None if there is no response (yet)."""

    __slots__ = (
        "_counts", "accept", "at", "digest", "key", "method", "path", "route", "status", "tenant", "user_agent",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        at: float,
        route: str,
        tenant: str | None,
        counts: Counter[tuple[str, int | None]],
    ) -> None:
        self._counts = counts
        headers = request.headers
        self.at = at
        self.route = route
        self.method = request.method
        self.path = request.path
        self.tenant = tenant
        self.key = headers.get(b"idempotency-key")
        self.accept = headers.get(b"accept")
        self.user_agent = headers.get(b"user-agent")
        self.digest = sha256(request.body).digest()
        self.status: int | None = None

    def answered(self, status: int) -> None:
        """Record that a response with this status was sent."""
        self.status = status
        self._counts[self.route, None] -= 1
        self._counts[self.route, status] += 1

    def as_json(self) -> dict[str, Any]:
        """The entry as `GET /_sandbox/requests` shows it."""
        return {
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "externalTenantId": self.tenant,
            "idempotencyKey": _text(self.key),
            "status": self.status,
            "bodySha256": self.digest.hex(),
            "headers": {"accept": _text(self.accept), "userAgent": _text(self.user_agent)},
        }


class Traffic:
    """The newest entries, oldest first, and counts of all requests."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int | None]] = Counter()
        self.entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)

    def record(self, request: Request, *, at: float, route: str, tenant: str | None) -> Entry:
        """Log a new request; its status is added when the response is sent."""
        entry = Entry(request, at, route, tenant, self._counts)
        self._counts[route, None] += 1
        self.entries.append(entry)
        request.on_sent = entry.answered
        return entry

    def counts(self) -> dict[str, dict[str, int]]:
        """{"POST /cases": {"200": n, "none": n}}: `none` counts those without a response."""
        table: dict[str, dict[str, int]] = {}
        for (route, status), number in (+self._counts).items():
            table.setdefault(route, {})[NO_ANSWER if status is None else str(status)] = number
        return table

    def listed(self, *, path: str | None = None, tenant: str | None = None) -> list[dict[str, Any]]:
        """Entries of a path (a trailing `*` makes it a prefix) and of a tenant."""
        return [
            entry.as_json()
            for entry in self.entries
            if (path is None or _matches(entry.path, path)) and (tenant is None or entry.tenant == tenant)
        ]


def _matches(path: str, wanted: str) -> bool:
    return path.startswith(wanted[:-1]) if wanted.endswith("*") else path == wanted


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
