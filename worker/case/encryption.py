"""Text that only who has the key can read: AES-256-GCM, with the key's fingerprint in front.

`sealed1:FINGERPRINT:BASE64`. No JSON begins like that, so sealed and plain texts stand in the same column and are told
apart. A sealed text opens only in the place that it was sealed for: the place (`job:ID`) is authenticated with it, so
nobody can put one debtor's case into another one's job.
"""

from __future__ import annotations

import binascii
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worker.errors import CaseSealed

#: What every sealed text begins with.
PREFIX = "sealed1:"
#: Bytes of a key.
KEY_BYTES = 32
#: Characters of a key's fingerprint.
FINGERPRINT = 12
#: Bytes that make each sealing different (NIST SP 800-38D; drawn at random, good for 2^32 texts under one key).
_NONCE = 12


class Keyring:
    """The keys of a deployment: the newest seals, all of them open. Safe for many threads."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys` are 32 bytes each, the newest first; at least one."""
        self._ciphers = {fingerprint(key): AESGCM(key) for key in reversed(keys)}
        self.newest = fingerprint(keys[0])
        """The fingerprint of the key that seals."""
        self.fingerprints = tuple(dict.fromkeys(fingerprint(key) for key in keys))

    def seal(self, text: str, place: str) -> str:
        """The text under the newest key, for that place."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self.newest].encrypt(nonce, text.encode(), place.encode())
        return f"{PREFIX}{self.newest}:{b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """The text again. Raises CaseSealed: its key is missing, or it was altered, or sealed for another place."""
        key = key_of(sealed) or ""
        if key not in self._ciphers:
            raise CaseSealed(key)
        try:
            content = b64decode(sealed[len(PREFIX) + FINGERPRINT + 1 :], validate=True)
            return self._ciphers[key].decrypt(content[:_NONCE], content[_NONCE:], place.encode()).decode()
        except (InvalidTag, ValueError):  # too short, or no base64
            raise CaseSealed(key, altered=True) from None


def key_of(text: str) -> str | None:
    """The fingerprint of the key that a text is sealed with; None for a plain text."""
    return text[len(PREFIX) :].partition(":")[0] if text.startswith(PREFIX) else None


def fingerprint(key: bytes) -> str:
    """Names a key without telling anything of it."""
    return sha256(b"case-worker key fingerprint" + key).hexdigest()[:FINGERPRINT]


def make_key() -> str:
    """A new key, as CASE_ENCRYPTION_KEYS takes it."""
    return b64encode(os.urandom(KEY_BYTES)).decode()


def parse_keys(text: str) -> tuple[bytes, ...]:
    """The keys, separated by white space or commas, each once. Raises ValueError, which repeats none of them."""
    keys = [
        _parse_key(part, number) for number, part in enumerate(re.split(r"[\s,]+", text.strip(" \t\r\n,")), 1) if part
    ]
    return tuple(dict.fromkeys(keys))


def _parse_key(text: str, number: int) -> bytes:
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
        key = b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"key {number} is not {KEY_BYTES} bytes in base64 or hex")
    return key
