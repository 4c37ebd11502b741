"""Password hashes with the standard library's scrypt, as text for an environment variable.

`scrypt.15.8.1.SALT.DIGEST`: the cost as a power of two, block size, parallelism, then salt and digest in URL-safe
base64. It avoids the usual dollar signs, because no character may have a meaning in a shell, docker compose or
REPORT_USERS.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
import unicodedata

#: 2 ** 15 rounds with blocks of 8: 32 MiB and about 0.1 s per check.
COST, BLOCK, PARALLEL = 15, 8, 1
SHORTEST = 10
#: Parallel checks in this process: each takes 32 MiB, so that login attempts can't exhaust the memory.
_slots = threading.BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """Hash a password for REPORT_USERS, with a new salt. Raises ValueError if it is too short."""
    if len(password) < SHORTEST:
        raise ValueError(f"should have at least {SHORTEST} characters")
    salt = os.urandom(16)
    digest = _digest(password, salt, COST, BLOCK, PARALLEL)
    return f"scrypt.{COST}.{BLOCK}.{PARALLEL}.{_text(salt)}.{_text(digest)}"


def matches(password: str, stored: str) -> bool:
    """Return whether the password fits the hash. `stored` must have passed `check_hash`."""
    cost, block, parallel, salt, digest = _parts(stored)
    with _slots:
        return hmac.compare_digest(digest, _digest(password, salt, cost, block, parallel))


def check_hash(stored: str) -> None:
    """Raise ValueError unless the text is a hash of this format."""
    _parts(stored)


def _parts(stored: str) -> tuple[int, int, int, bytes, bytes]:
    try:
        kind, *numbers, salt, digest = stored.split(".")
        cost, block, parallel = (int(number) for number in numbers)
        parts = cost, block, parallel, _bytes(salt), _bytes(digest)
    except (ValueError, binascii.Error):
        raise ValueError("is not a hash of `case-worker hash-password`") from None
    usable = kind == "scrypt" and 14 <= cost <= 20 and 1 <= block <= 16 and 1 <= parallel <= 4
    if not usable or len(parts[3]) < 16 or len(parts[4]) != 32:
        raise ValueError("is not a hash of `case-worker hash-password`")
    return parts


def _digest(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    # Keyboards produce the same letter in different Unicode forms.
    typed = unicodedata.normalize("NFKC", password).encode()
    memory = 128 * block * (2**cost + parallel + 2)
    return hashlib.scrypt(typed, salt=salt, n=2**cost, r=block, p=parallel, maxmem=memory + 1024 * 1024, dklen=32)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


#: Compared with an unknown user's password, so that the response takes as long as for a known one. Its digest is
#: random, so no password matches.
DUMMY_HASH = f"scrypt.{COST}.{BLOCK}.{PARALLEL}.{_text(os.urandom(16))}.{_text(os.urandom(32))}"
