"""Slowing down whoever guesses passwords: counted over all processes where there is a Redis, else in this one."""

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

#: Tries for one name from one address; from one address; for one name from everywhere (slow guessing by many).
PAIR, ADDRESS, NAME = parse("6 per 5 minutes"), parse("60 per 5 minutes"), parse("100 per hour")


class Throttle:
    """Counts tries to sign in."""

    def __init__(self, redis_url: str) -> None:
        """`redis_url` may be empty."""
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared = FixedWindowRateLimiter(_storage(redis_url)) if redis_url else None

    def wait(self, address: str, name: str) -> float:
        """Count one try. Returns the seconds until the next is allowed; 0 if this one is."""
        for limit, keys in _limits(address, name):
            if left := self._hit(limit, keys):
                return left
        return 0.0

    def forgive(self, address: str, name: str) -> None:
        """The password was right: earlier slips of the pen are forgotten."""
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
                # Nobody is kept out because Redis is away; this process goes on counting by itself.
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
    """The address; of IPv6 the network, since one machine has any number of addresses in it."""
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
    assert isinstance(storage, Storage)  # an asynchronous one has a URL of its own kind
    return storage
