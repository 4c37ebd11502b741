"""Limit sign-in attempts against password guessing: across all processes with Redis, else in this process."""

from __future__ import annotations

import ipaddress
import time

import structlog
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from redis import RedisError

log = structlog.get_logger(__name__)

#: Attempts for one name from one address; from one address; for one name from all addresses (distributed guessing).
PAIR, ADDRESS, NAME = parse("6 per 5 minutes"), parse("60 per 5 minutes"), parse("100 per hour")


class Throttle:
    """Counts sign-in attempts."""

    def __init__(self, redis_url: str) -> None:
        """`redis_url` may be empty."""
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared = FixedWindowRateLimiter(_storage(redis_url)) if redis_url else None

    def count_attempt(self, address: str, name: str) -> float:
        """Count one attempt. Returns 0 if it is allowed, else the seconds until the next one is."""
        for limit, keys in _limits(address, name):
            if left := self._hit(limit, keys):
                return left
        return 0.0

    def reset(self, address: str, name: str) -> None:
        """Forget earlier attempts after the right password."""
        limit, keys = _limits(address, name)[0]
        self._own.clear(limit, *keys)
        if self._shared:
            try:
                self._shared.clear(limit, *keys)
            except (RedisError, StorageError):
                log.warning("throttle_not_shared")

    def _hit(self, limit: RateLimitItem, keys: tuple[str, ...]) -> float:
        if self._shared:
            try:
                return _take(self._shared, limit, keys)
            except (RedisError, StorageError):
                # Without Redis, users can still sign in; this process counts alone.
                log.warning("throttle_not_shared")
        return _take(self._own, limit, keys)


def _take(limiter: FixedWindowRateLimiter, limit: RateLimitItem, keys: tuple[str, ...]) -> float:
    if limiter.hit(limit, *keys):
        return 0.0
    return max(limiter.get_window_stats(limit, *keys).reset_time - time.time(), 1.0)


def _limits(address: str, name: str) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
    place = _place(address)
    return [(PAIR, ("pair", place, name)), (ADDRESS, ("address", place)), (NAME, ("name", name))]


def _place(address: str) -> str:
    """The address; for IPv6 the /64 network, because one machine can use every address in it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _storage(redis_url: str) -> Storage:
    url = redis_url.replace("unix://", "redis+unix://", 1) if redis_url.startswith("unix://") else redis_url
    storage = storage_from_string(
        url, key_prefix="case-worker:login", socket_timeout=1, socket_connect_timeout=1, wrap_exceptions=True
    )
    assert isinstance(storage, Storage)  # asynchronous ones have another URL scheme
    return storage
