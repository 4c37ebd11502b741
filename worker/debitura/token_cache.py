"""The shared token cache in Redis or Valkey, with encrypted entries.

Entries are encrypted with a key derived from the partner API key, and named by a keyed hash of the tenant. If Redis is
unreachable, reads find nothing, writes are skipped, and Redis is not tried again during a cooldown.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, TypeVar

import redis
import structlog
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worker.debitura.tokens import CachedToken

log = structlog.get_logger(__name__)

#: Seconds for one round trip; the cache must not take longer than a mint.
SOCKET_TIMEOUT = 1.0
#: Seconds without new tries after Redis was unreachable.
COOLDOWN_SECONDS = 2.0

_DROP = """
local entry = redis.call('GET', KEYS[1])
if entry and string.sub(entry, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
T = TypeVar("T")


class RedisTokenCache:
    """One entry per environment and tenant: `fingerprint:ciphertext`, which expires with the token."""

    def __init__(self, url: str, *, api_key: str, environment: str, lock_seconds: float, connections: int) -> None:
        """`lock_seconds`: when a mint lock expires, in case its holder died."""
        # Retry a lost pool connection once; an unreachable Redis must not take longer.
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT,
            socket_connect_timeout=SOCKET_TIMEOUT,
            socket_keepalive=True,
            max_connections=connections * 2,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 1),
        )
        secret = _derive(api_key, environment)
        self._fernet = Fernet(urlsafe_b64encode(secret[:32]))
        self._naming_key = secret[32:]
        self._prefix = f"case-worker:token:{environment}:"
        self._lock_ms = int(lock_seconds * 1000)
        self._cooldown_until = 0.0
        self._guard = threading.Lock()

    def get(self, tenant: str) -> CachedToken | None:
        """The tenant's token, in one round trip. Times come from Redis, because workers' clocks may differ."""
        name = self._name(tenant)

        def read() -> list[Any]:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(name)
            pipeline.pttl(name)
            # An error reply (an entry that is not text) counts as no entry, and starts no cooldown.
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            return answers

        entry, milliseconds_left = self._try(read) or (None, 0)
        if not isinstance(entry, bytes) or not isinstance(milliseconds_left, int) or milliseconds_left <= 0:
            return None
        try:
            content = json.loads(self._fernet.decrypt(entry.partition(b":")[2]))
            left = milliseconds_left / 1000
            return CachedToken(content["token"], seconds_left=left, age=content["seconds"] - left)
        except (InvalidToken, ValueError, KeyError, TypeError):
            # Written with another partner key, or not by us: treat it as missing.
            return None

    def put(
        self, tenant: str, token: str, fingerprint: str, seconds: float, lock: str | None, age: float = 0.0
    ) -> None:
        """Store the token and release the mint lock, in one round trip."""
        content = json.dumps({"token": token, "seconds": seconds + age}).encode()
        name = self._name(tenant)

        def store() -> None:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.set(
                name, fingerprint.encode() + b":" + self._fernet.encrypt(content), px=max(int(seconds * 1000), 1)
            )
            if lock:
                pipeline.eval(_UNLOCK, 1, name + ":mint", lock)
            pipeline.execute()

        self._try(store)

    def drop(self, tenant: str, fingerprint: str) -> None:
        """Delete the token if it still has this fingerprint: an atomic compare and delete."""
        self._try(lambda: self._client.eval(_DROP, 1, self._name(tenant), fingerprint + ":"))

    def lock(self, tenant: str) -> str | None:
        """Acquire the mint lock for `lock_seconds`; None if another worker holds it or Redis is unreachable."""
        ours = secrets.token_hex(8)
        taken = self._try(lambda: self._client.set(self._name(tenant) + ":mint", ours, nx=True, px=self._lock_ms))
        return ours if taken else None

    def unlock(self, tenant: str, lock: str) -> None:
        """Release the mint lock if we still hold it."""
        self._try(lambda: self._client.eval(_UNLOCK, 1, self._name(tenant) + ":mint", lock))

    def reachable(self) -> bool:
        """Whether Redis responded to the last call, or the cooldown is over."""
        return time.monotonic() >= self._cooldown_until

    def _name(self, tenant: str) -> str:
        return self._prefix + hmac.new(self._naming_key, tenant.encode(), hashlib.sha256).hexdigest()[:32]

    def _try(self, call: Callable[[], T]) -> T | None:
        if not self.reachable():
            return None
        try:
            return call()
        except redis.RedisError as error:
            with self._guard:
                first = self.reachable()
                self._cooldown_until = time.monotonic() + COOLDOWN_SECONDS
            if first:
                log.warning("token_cache_unreachable", error=type(error).__name__, rest_seconds=COOLDOWN_SECONDS)
            return None


def _derive(api_key: str, environment: str) -> Any:
    """64 bytes from the partner API key (HKDF-SHA256): 32 to encrypt, 32 to name entries."""
    info = f"case-worker token cache {environment}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=64, salt=None, info=info).derive(api_key.encode())
