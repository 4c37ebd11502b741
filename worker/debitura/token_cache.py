"""The shared token cache in Redis or Valkey. Who reads it learns nothing that could be used.

Entries are encrypted with a key derived from the partner API key, and named by a keyed hash of the tenant. Redis may
vanish at any time: then nothing is found, nothing is kept, and for a moment nobody asks again.
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

#: Seconds for one round trip; the cache must never cost more time than a mint.
SOCKET_TIMEOUT = 1.0
#: Seconds for which Redis is left alone after it could not be reached.
REST_AFTER_FAILURE = 2.0

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
    """One entry per environment and tenant: `fingerprint:ciphertext`, living as long as the token is used."""

    def __init__(self, url: str, *, api_key: str, environment: str, lock_seconds: float, connections: int) -> None:
        """`lock_seconds`: after that time a mint lock is free again, should its holder have died."""
        # A lost connection of the pool costs one new try at once; a Redis that is away must not cost more than that.
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
        self._rests_until = 0.0
        self._guard = threading.Lock()

    def get(self, tenant: str) -> CachedToken | None:
        """The tenant's token, in one round trip. Its times are Redis's own: workers' clocks may differ."""
        name = self._name(tenant)

        def read() -> list[Any]:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(name)
            pipeline.pttl(name)
            # An error in place of an answer (an entry that is not text) is as good as no entry, and no reason to rest.
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
            # Written under another partner key, or not by us: as good as no entry.
            return None

    def put(
        self, tenant: str, token: str, fingerprint: str, seconds: float, lock: str | None, age: float = 0.0
    ) -> None:
        """Keep the token and let go of the mint lock, in one round trip."""
        content = json.dumps({"token": token, "seconds": seconds + age}).encode()
        name = self._name(tenant)

        def keep() -> None:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.set(
                name, fingerprint.encode() + b":" + self._fernet.encrypt(content), px=max(int(seconds * 1000), 1)
            )
            if lock:
                pipeline.eval(_UNLOCK, 1, name + ":mint", lock)
            pipeline.execute()

        self._try(keep)

    def drop(self, tenant: str, fingerprint: str) -> None:
        """Forget the token if it is still the one with that fingerprint: compare and delete, in one step."""
        self._try(lambda: self._client.eval(_DROP, 1, self._name(tenant), fingerprint + ":"))

    def lock(self, tenant: str) -> str | None:
        """Take the mint lock for `lock_seconds`; None when somebody else has it or Redis is away."""
        ours = secrets.token_hex(8)
        taken = self._try(lambda: self._client.set(self._name(tenant) + ":mint", ours, nx=True, px=self._lock_ms))
        return ours if taken else None

    def unlock(self, tenant: str, lock: str) -> None:
        """Let go of the mint lock if it is still ours."""
        self._try(lambda: self._client.eval(_UNLOCK, 1, self._name(tenant) + ":mint", lock))

    def reachable(self) -> bool:
        """Whether Redis answered when it was last asked (or has had its rest since)."""
        return time.monotonic() >= self._rests_until

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
                self._rests_until = time.monotonic() + REST_AFTER_FAILURE
            if first:
                log.warning("token_cache_unreachable", error=type(error).__name__, rest_seconds=REST_AFTER_FAILURE)
            return None


def _derive(api_key: str, environment: str) -> Any:
    """64 bytes from the partner API key (HKDF-SHA256): 32 to encrypt, 32 to name entries."""
    info = f"case-worker token cache {environment}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=64, salt=None, info=info).derive(api_key.encode())
