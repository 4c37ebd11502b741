"""Encrypt texts with AES-256-GCM.

The format is `sealed1:FINGERPRINT:BASE64`, with the key's fingerprint. No JSON begins like that, so encrypted and plain
texts can share a column. A text can be decrypted only for the place it was encrypted for: the place (`job:ID`) is
authenticated, so one debtor's case cannot be moved to another job.
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

#: The prefix of every encrypted text.
PREFIX = "sealed1:"
#: Length of a key in bytes.
KEY_BYTES = 32
#: Length of a key's fingerprint in characters.
FINGERPRINT = 12
#: Length of the random nonce in bytes (NIST SP 800-38D; safe for 2^32 texts per key).
_NONCE = 12


class Keyring:
    """The keys of a deployment: the newest encrypts, all decrypt. Thread-safe."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: at least one, 32 bytes each, newest first."""
        self._ciphers = {fingerprint(key): AESGCM(key) for key in reversed(keys)}
        self.newest = fingerprint(keys[0])
        """The fingerprint of the key that encrypts."""
        self.fingerprints = tuple(dict.fromkeys(fingerprint(key) for key in keys))

    def seal(self, text: str, place: str) -> str:
        """Encrypt the text with the newest key, for this place."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self.newest].encrypt(nonce, text.encode(), place.encode())
        return f"{PREFIX}{self.newest}:{b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """Decrypt the text.

        Raises CaseSealed if its key is missing, or if it was altered or belongs to another place.
        """
        key = key_of(sealed) or ""
        if key not in self._ciphers:
            raise CaseSealed(key)
        try:
            content = b64decode(sealed[len(PREFIX) + FINGERPRINT + 1 :], validate=True)
            return self._ciphers[key].decrypt(content[:_NONCE], content[_NONCE:], place.encode()).decode()
        except (InvalidTag, ValueError):  # too short, or not base64
            raise CaseSealed(key, altered=True) from None


def key_of(text: str) -> str | None:
    """The fingerprint of the key of an encrypted text; None for a plain text."""
    return text[len(PREFIX) :].partition(":")[0] if text.startswith(PREFIX) else None


def fingerprint(key: bytes) -> str:
    """A short hash that identifies a key without revealing it."""
    return sha256(b"case-worker key fingerprint" + key).hexdigest()[:FINGERPRINT]


def make_key() -> str:
    """Generate a key for CASE_ENCRYPTION_KEYS."""
    return b64encode(os.urandom(KEY_BYTES)).decode()


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Parse keys separated by white space or commas, without duplicates. Raises ValueError, without the key."""
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
