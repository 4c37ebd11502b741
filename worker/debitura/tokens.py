"""Tenant tokens: one mint per tenant and lifetime across all threads, processes and machines.

Rules from referral-partners/getting-started/authentication: cache tokens per externalTenantId and reuse them until they
expire; on a 401 mint a fresh one; there is no refresh. Three places, nearest first: this process's memory (for a few
seconds), the shared cache, the mint. Before minting, a lock in the shared cache makes everybody else wait, and the
cache is looked at once more. Without Redis the memory lasts for the token's whole life and the lock is this
process's own: more mints, and no job waits.
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

#: Seconds before its expiry at which a token is not used any more, so that it does not expire on the way.
EXPIRY_MARGIN = 60.0
#: Seconds that a token is used from this process's memory before the shared cache is asked again.
MEMORY_SECONDS = 2.0
#: Tenants whose tokens are remembered by one process at most.
MEMORY_TENANTS = 10_000
#: Seconds between two looks while somebody else mints.
LOOK_AGAIN = 0.05


@dataclass(frozen=True, slots=True)
class Token:
    """A tenant's token, ready for use."""

    value: str
    fingerprint: str
    """Names the token in the ledger and the cache without giving it away."""
    minted: bool
    """Whether this very call minted it."""

    def __repr__(self) -> str:
        return f"Token({self.fingerprint})"


@dataclass(frozen=True, slots=True)
class CachedToken:
    """A token as the shared cache has it."""

    value: str
    seconds_left: float
    """Seconds for which it is still used."""
    age: float
    """Seconds since it was minted."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A token that the Customer API refused, and how many seconds ago the refused request left."""

    fingerprint: str
    sent_ago: float


class SharedCache(Protocol):
    """What the token store needs of the shared cache. `None` or `False` may also mean that it cannot be reached."""

    def get(self, tenant: str) -> CachedToken | None:
        """The tenant's token, if there is one."""

    def put(
        self, tenant: str, token: str, fingerprint: str, seconds: float, lock: str | None, age: float = 0.0
    ) -> None:
        """Keep a token, minted `age` seconds ago, for that many seconds, and let go of the lock."""

    def drop(self, tenant: str, fingerprint: str) -> None:
        """Forget the tenant's token if it is still the one with that fingerprint."""

    def lock(self, tenant: str) -> str | None:
        """Take the tenant's mint lock; None when somebody else has it."""

    def unlock(self, tenant: str, lock: str) -> None:
        """Let go of the mint lock if it is still ours."""

    def reachable(self) -> bool:
        """Whether the last call reached it."""


@dataclass(slots=True)
class _Remembered:
    token: Token
    minted_at: float
    fresh_until: float
    """Until then it is used without asking the shared cache."""
    good_until: float
    """Until then it is used at all."""


class TokenStore:
    """The process's view of all tenants' tokens. Safe for many threads."""

    def __init__(
        self,
        mint: Callable[[str], MintedToken],
        cache: SharedCache,
        *,
        longest_mint: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`longest_mint`: seconds after which somebody else's mint is not waited for any more."""
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

        After a 401, `rejected` says which token was refused. Then only one that was minted after the refused request
        had left will do: a second 401 is to prove that the link is invalid, and an older token's would prove nothing.
        Raises what the mint raises (see `worker.debitura.apis.mint_token`).
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
            # The look may just have found out that the cache cannot be reached; then the memory is good for longer.
            if token := self._remembered(tenant, rejected):
                return token
            return self._mint_alone(tenant, rejected)

    def reject(self, tenant: str, fingerprint: str) -> None:
        """The Customer API refused that token: forget it, unless it has been replaced already."""
        with self._guard:
            known = self._memory.get(tenant)
            if known and known.token.fingerprint == fingerprint:
                del self._memory[tenant]
        self._cache.drop(tenant, fingerprint)

    def _mint_alone(self, tenant: str, rejected: Rejected | None) -> Token:
        """Mint under the fleet's lock for this tenant, or take what its holder put into the cache."""
        began = self._clock()

        def someone_minted() -> Token | None:
            waited = self._clock() - began
            return self._cached(tenant, rejected and replace(rejected, sent_ago=rejected.sent_ago + waited))

        while (lock := self._cache.lock(tenant)) is None and self._cache.reachable():
            self._sleep(LOOK_AGAIN)
            if token := someone_minted():
                return token
            if self._clock() - began > self._longest_mint:
                raise MintUnavailable("another worker is minting this tenant's token and does not get done")
        if lock is None and (token := self._remembered(tenant, rejected, stale=True)):
            # The cache answers and takes nothing (full, or read-only): what is remembered is all that there is.
            return token
        try:
            if lock and (token := someone_minted()):
                return token
            asked_at = self._clock()
            minted = self._mint(tenant)
            self.mints += 1
            # It may be as old as the question: only so a token proves that it is younger than a refused request.
            age = self._clock() - asked_at
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
        if not _will_do(token, found.age, rejected):
            return None
        self._remember(tenant, token, age=found.age, seconds_left=found.seconds_left)
        count(definitions.CACHE_HITS, "shared")
        return token

    def _remembered(self, tenant: str, rejected: Rejected | None, *, stale: bool = False) -> Token | None:
        """The token in memory, if the cache need not be asked (`stale`: even if it was not asked lately)."""
        known = self._memory.get(tenant)
        now = self._clock()
        if known is None or now >= known.good_until or not _will_do(known.token, now - known.minted_at, rejected):
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
    """A lock that can be held weakly, so that a million tenants don't leave a million locks."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _will_do(token: Token, age: float, rejected: Rejected | None) -> bool:
    return rejected is None or (token.fingerprint != rejected.fingerprint and age < rejected.sent_ago)


def usable_seconds(expires_in: float) -> float:
    """How long a token is used: its life less the margin; a short-lived one for at least half of its life."""
    return max(expires_in - EXPIRY_MARGIN, expires_in / 2)


def fingerprint_of(token: str) -> str:
    """The first 16 hex digits of the token's SHA-256: enough to tell tokens apart, useless for anything else."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
