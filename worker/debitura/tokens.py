"""Tenant tokens: one mint per tenant and lifetime across all threads, processes and machines.

Rules from referral-partners/getting-started/authentication: cache tokens per externalTenantId and reuse them until they
expire; on a 401 mint a fresh one; there is no refresh. Look-up order: this process's memory (for a few seconds), the
shared cache, the mint. Before minting, take a lock in the shared cache and check the cache again, so that other workers
wait. Without Redis, memory is used for the token's whole lifetime and the lock is local: more mints, but no job waits.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakValueDictionary

from worker.debitura.apis import MintedToken
from worker.errors import MintUnavailable
from worker.telemetry.metrics import count, definitions

#: Seconds before expiry at which a token is no longer used, so that it does not expire in transit.
EXPIRY_MARGIN = 60.0
#: Seconds that a token is used from memory before the shared cache is checked again.
MEMORY_SECONDS = 2.0
#: Maximum number of tenants in one process's memory.
MEMORY_TENANTS = 10_000
#: Seconds between two checks while another worker mints.
MINT_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Token:
    """A tenant's token, ready for use."""

    value: str
    fingerprint: str
    """Identifies the token in the ledger and the cache without revealing it."""
    minted: bool
    """Whether this call minted it."""

    def __repr__(self) -> str:
        return f"Token({self.fingerprint})"


@dataclass(frozen=True, slots=True)
class CachedToken:
    """A token in the shared cache."""

    value: str
    seconds_left: float
    """Seconds for which it may still be used."""
    age: float
    """Seconds since it was minted."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A token that the Customer API rejected, and how many seconds ago the rejected request was sent."""

    fingerprint: str
    sent_ago: float


class SharedCache(Protocol):
    """The interface of the shared cache. `None` or `False` may also mean that it is unreachable."""

    def get(self, tenant: str) -> CachedToken | None:
        """The tenant's token, or None."""

    def put(
        self, tenant: str, token: str, fingerprint: str, seconds: float, lock: str | None, age: float = 0.0
    ) -> None:
        """Store a token, minted `age` seconds ago, for `seconds`, and release the lock."""

    def drop(self, tenant: str, fingerprint: str) -> None:
        """Delete the tenant's token if it still has this fingerprint."""

    def lock(self, tenant: str) -> str | None:
        """Acquire the tenant's mint lock; None if another worker holds it."""

    def unlock(self, tenant: str, lock: str) -> None:
        """Release the mint lock if we still hold it."""

    def reachable(self) -> bool:
        """Whether the last call reached it."""


@dataclass(slots=True)
class _Remembered:
    token: Token
    minted_at: float
    fresh_until: float
    """Until then it is used without checking the shared cache."""
    good_until: float
    """Until then it may be used."""


class TokenStore:
    """All tenants' tokens in this process. Thread-safe."""

    def __init__(
        self,
        mint: Callable[[str], MintedToken],
        cache: SharedCache,
        *,
        longest_mint: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`longest_mint`: maximum seconds to wait for another worker's mint."""
        self._mint = mint
        self._cache = cache
        self._longest_mint = longest_mint
        self._clock = clock
        self._sleep = sleep
        self._memory: dict[str, _Remembered] = {}
        self._guard = threading.Lock()
        self._tenant_locks: WeakValueDictionary[str, _TenantLock] = WeakValueDictionary()
        self.mints = 0
        """Successful mints of this process."""

    def get(self, tenant: str, *, rejected: Rejected | None = None) -> Token:
        """A token for the tenant, cached or minted.

        After a 401, `rejected` names the rejected token. Then return only a token that was minted after the rejected
        request was sent: a second 401 must prove that the link is invalid, and with an older token it would not. Raises
        the errors of `worker.debitura.apis.mint_token`.
        """
        if token := self._remembered(tenant, rejected):
            return token
        waiting_since = self._clock()
        with self._tenant_lock(tenant):
            # While we waited, another thread of this process may have fetched or minted it.
            if rejected:
                rejected = replace(rejected, sent_ago=rejected.sent_ago + self._clock() - waiting_since)
            if token := self._remembered(tenant, rejected) or self._cached(tenant, rejected):
                return token
            # The check may have found the cache unreachable; then memory entries are valid for longer.
            if token := self._remembered(tenant, rejected):
                return token
            return self._mint_alone(tenant, rejected)

    def reject(self, tenant: str, fingerprint: str) -> None:
        """Remove a token that the Customer API rejected, unless it was already replaced."""
        with self._guard:
            known = self._memory.get(tenant)
            if known and known.token.fingerprint == fingerprint:
                del self._memory[tenant]
        self._cache.drop(tenant, fingerprint)

    def _mint_alone(self, tenant: str, rejected: Rejected | None) -> Token:
        """Mint under the fleet-wide lock for this tenant, or use the token that the lock's holder minted."""
        began = self._clock()

        def minted_elsewhere() -> Token | None:
            waited = self._clock() - began
            return self._cached(tenant, rejected and replace(rejected, sent_ago=rejected.sent_ago + waited))

        while (lock := self._cache.lock(tenant)) is None and self._cache.reachable():
            self._sleep(MINT_POLL_SECONDS)
            if token := minted_elsewhere():
                return token
            if self._clock() - began > self._longest_mint:
                raise MintUnavailable("another worker has not finished minting this tenant's token")
        if lock is None and (token := self._remembered(tenant, rejected, stale=True)):
            # The cache responds but accepts no writes (full or read-only): fall back to memory.
            return token
        try:
            if lock and (token := minted_elsewhere()):
                return token
            requested_at = self._clock()
            minted = self._mint(tenant)
            self.mints += 1
            # Assume that it was minted when the request was sent, to be sure that it is newer than a rejected request.
            age = self._clock() - requested_at
            token = Token(minted.value, fingerprint_of(minted.value), minted=True)
            usable = usable_seconds(minted.expires_in)
            self._remember(tenant, token, age=age, seconds_left=usable)
            self._cache.put(tenant, token.value, token.fingerprint, usable, lock, age)
            lock = None
            return token
        finally:
            if lock:
                self._cache.unlock(tenant, lock)

    def _cached(self, tenant: str, rejected: Rejected | None) -> Token | None:
        found = self._cache.get(tenant)
        if found is None:
            return None
        token = Token(found.value, fingerprint_of(found.value), minted=False)
        if not _is_acceptable(token, found.age, rejected):
            return None
        self._remember(tenant, token, age=found.age, seconds_left=found.seconds_left)
        count(definitions.CACHE_HITS, "shared")
        return token

    def _remembered(self, tenant: str, rejected: Rejected | None, *, stale: bool = False) -> Token | None:
        """The token in memory if the cache need not be checked (`stale`: even if not checked recently)."""
        known = self._memory.get(tenant)
        now = self._clock()
        if known is None or now >= known.good_until or not _is_acceptable(known.token, now - known.minted_at, rejected):
            return None
        if not (stale or now < known.fresh_until or not self._cache.reachable()):
            return None
        count(definitions.CACHE_HITS, "memory")
        return known.token

    def _remember(self, tenant: str, token: Token, *, age: float, seconds_left: float) -> None:
        now = self._clock()
        with self._guard:
            if len(self._memory) >= MEMORY_TENANTS:
                self._memory.clear()
            self._memory[tenant] = _Remembered(
                replace(token, minted=False),
                minted_at=now - age,
                fresh_until=now + min(MEMORY_SECONDS, seconds_left),
                good_until=now + seconds_left,
            )

    def _tenant_lock(self, tenant: str) -> _TenantLock:
        with self._guard:
            lock = self._tenant_locks.get(tenant)
            if lock is None:
                lock = self._tenant_locks[tenant] = _TenantLock()
            return lock


class _TenantLock:
    """A lock that supports weak references, so that a million tenants don't leave a million locks."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _is_acceptable(token: Token, age: float, rejected: Rejected | None) -> bool:
    return rejected is None or (token.fingerprint != rejected.fingerprint and age < rejected.sent_ago)


def usable_seconds(expires_in: float) -> float:
    """How long a token is used: its lifetime minus the margin, but at least half of its lifetime."""
    return max(expires_in - EXPIRY_MARGIN, expires_in / 2)


def fingerprint_of(token: str) -> str:
    """The first 16 hex digits of the token's SHA-256: enough to identify it without revealing it."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
