"""A clock, a shared cache and a mint for tests of the token store."""

from __future__ import annotations

from collections.abc import Callable

from worker.debitura.apis import MintedToken
from worker.debitura.tokens import CachedToken, fingerprint_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class MemoryCache:
    """A shared cache for several stores; `away` simulates an unreachable Redis."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.entries: dict[str, tuple[str, float, float]] = {}
        self.locks: dict[str, str] = {}
        self.reads = 0
        self.away = False
        self.rests = False
        self.on_lock: Callable[[], None] = lambda: None

    def get(self, tenant: str) -> CachedToken | None:
        self.reads += 1
        self.rests = self.away
        entry = self.entries.get(tenant)
        if self.away or entry is None or entry[1] <= self._clock():
            return None
        token, until, since = entry
        return CachedToken(token, seconds_left=until - self._clock(), age=self._clock() - since)

    def put(
        self, tenant: str, token: str, fingerprint: str, seconds: float, lock: str | None, age: float = 0.0
    ) -> None:
        if not self.away:
            self.entries[tenant] = (token, self._clock() + seconds, self._clock() - age)
            if lock:
                self.unlock(tenant, lock)

    def drop(self, tenant: str, fingerprint: str) -> None:
        entry = self.entries.get(tenant)
        if not self.away and entry and fingerprint_of(entry[0]) == fingerprint:
            del self.entries[tenant]

    def lock(self, tenant: str) -> str | None:
        self.on_lock()
        self.rests = self.away
        if self.away or tenant in self.locks:
            return None
        self.locks[tenant] = "ours"
        return "ours"

    def unlock(self, tenant: str, lock: str) -> None:
        if self.locks.get(tenant) == lock:
            del self.locks[tenant]

    def reachable(self) -> bool:
        return not self.rests


class Mint:
    def __init__(self) -> None:
        self.tenants: list[str] = []
        self.expires_in = 1800.0
        self.error: Exception | None = None

    def __call__(self, tenant: str) -> MintedToken:
        self.tenants.append(tenant)
        if self.error:
            raise self.error
        return MintedToken(f"{tenant}-token-{len(self.tenants)}", self.expires_in)
