"""Everything the sandbox remembers, and its Idempotency-Key store. A reset replaces the state with a new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.sandbox.cases import Cases
from worker.sandbox.faults import Faults
from worker.sandbox.rates import RateLimits
from worker.sandbox.tokens import Tokens
from worker.sandbox.traffic import Traffic
from worker.sandbox.webhooks import Webhooks

DEFAULT_API_KEY = "sandbox-partner-key"
LINK_STATES = ("ok", "invalid", "missing", "unfinished", "blocked")


@dataclass(frozen=True, slots=True)
class Settings:
    """The initial settings. An empty `rate_limits` means no limits; `clock` returns seconds since the epoch."""

    api_key: str = DEFAULT_API_KEY
    token_seconds: float = 1800
    rate_limits: str = ""
    latency_ms: float = 0
    clock: Callable[[], float] = time.time


class State:
    """Links, tokens, cases, used keys, limits, traffic and faults of one run.

    A client link is `ok` unless the control endpoint set it or the tenant id begins with `missing-`, `invalid-`,
    `unfinished-` or `blocked-`. `missing`: no active link. `invalid`: a token is minted, but the Customer API refuses
    it. `unfinished`: the debt collection agreement is not signed. `blocked`: the creditor may not create cases.
    """

    def __init__(self, settings: Settings) -> None:
        self.clock = settings.clock
        self.api_key = settings.api_key.encode()
        self.api_key_accepted = True
        self.token_seconds = settings.token_seconds
        self.latency_seconds = settings.latency_ms / 1000
        self.limits = RateLimits(settings.rate_limits)
        self.links: dict[str, str] = {}
        self.tokens = Tokens()
        self.cases = Cases()
        self.keys = IdempotencyKeys()
        self.traffic = Traffic()
        self.faults = Faults()
        self.webhooks = Webhooks()
        self._seen: set[tuple[str, bytes]] = set()

    def link(self, tenant: str) -> str:
        """The state of the tenant's client link, one of `LINK_STATES`."""
        known = self.links.get(tenant)
        if known is not None:
            return known
        prefix = tenant.partition("-")[0]
        return prefix if prefix in LINK_STATES and prefix != tenant else "ok"

    def is_first_time(self, tenant: str, digest: bytes) -> bool:
        """True the first time for each tenant and body; for tags that act only once."""
        before = len(self._seen)
        self._seen.add((tenant, digest))
        return len(self._seen) > before


MAX_KEY_LENGTH = 255


class Use:
    """One use of a key. `status` 0 means that the first request is still in flight."""

    __slots__ = ("body", "digest", "status")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.status = 0
        self.body = b""


class IdempotencyKeys:
    """Uses by creditor and key."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str], Use] = {}
        self.in_flight = 0
        """How many first uses have no answer yet."""

    def claim(self, creditor: str, key: str, digest: bytes) -> Use | None:
        """None when the key was free (it is in flight from now on), else its earlier use."""
        use = self._uses.get((creditor, key))
        if use is None:
            self.in_flight += 1
            self._uses[creditor, key] = Use(digest)
        return use

    def settle(self, creditor: str, key: str, status: int, body: bytes) -> None:
        """Store the terminal answer for replays."""
        self.in_flight -= 1
        use = self._uses[creditor, key]
        use.status = status
        use.body = body

    def forget(self) -> int:
        """Forget all keys whose answer is stored, as the API does after a day. Returns how many."""
        settled = [place for place, use in self._uses.items() if use.status]
        for place in settled:
            del self._uses[place]
        return len(settled)

    def release(self, creditor: str, key: str) -> None:
        """Free the key: the answer was not terminal."""
        self.in_flight -= 1
        del self._uses[creditor, key]
