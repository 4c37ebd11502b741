"""What a tenant is called in logs and traces: a short keyed digest. Who reads a log learns no client's id from it.

A plain hash would not do: tenant ids are short and can be guessed and hashed in turn. The key is LOG_TENANT_KEY, or,
where there is none, derived from DATABASE_URL, which all processes of a deployment share and no reader of logs knows.
`case-worker tenant-digest TENANT` says what to search for.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from functools import lru_cache

from worker.environment import setting_text
from worker.errors import SettingsError

#: Characters of a key that somebody gives; a shorter one could be guessed.
SHORTEST_KEY = 16
#: Hexadecimal digits of a digest: enough to tell a million tenants apart.
DIGITS = 12
_LABEL = b"case-worker tenant digest"


def tenant_key(environ: Mapping[str, str]) -> bytes:
    """The key of this deployment. Raises SettingsError for one that is too short."""
    given = setting_text(environ, "LOG_TENANT_KEY")
    if given and len(given) < SHORTEST_KEY:
        raise SettingsError(f"LOG_TENANT_KEY should have at least {SHORTEST_KEY} characters, chosen at random")
    material = given or setting_text(environ, "DATABASE_URL")
    return hmac.new(_LABEL, material.encode(), hashlib.sha256).digest()


def digest_with(key: bytes, tenant: str) -> str:
    """The tenant's digest under that key."""
    return hmac.new(key, tenant.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]


@lru_cache(maxsize=10_000)
def tenant_digest(tenant: str) -> str:
    """The tenant's digest in this process, whose environment has the key."""
    return digest_with(_own_key(), tenant)


@lru_cache(maxsize=1)
def _own_key() -> bytes:
    return tenant_key(os.environ)
