"""Which parts of a case the ledger stores in plain text, and which encrypted.

Without keys everything is plain text. With keys the case is encrypted; amount and reference stay plain only if
CASE_PLAINTEXT_FIELDS names them. If the reference is hidden, so is the idempotency key, which contains it: only its
digest is stored. Jobs are found by either form of the key, because both have the same digest.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from worker.case.encryption import Keyring, key_of, parse_keys
from worker.environment import setting_text
from worker.errors import CaseSealed, SettingsError

#: The allowed values of CASE_PLAINTEXT_FIELDS.
PLAINTEXT_FIELDS = ("amount", "reference")
#: The prefix of a stored idempotency key that is only a digest.
HIDDEN = "hidden:sha256:"
_HIDDEN_KEY = re.compile(r"hidden:sha256:[0-9a-f]{64}")


class Facts(Protocol):
    """A job's case as it was accepted."""

    @property
    def external_tenant_id(self) -> str:
        """The tenant."""

    @property
    def idempotency_key(self) -> str:
        """The sender's key."""

    @property
    def case_body(self) -> str:
        """The JSON text."""

    @property
    def creditor_reference(self) -> str | None:
        """Extracted from the case."""

    @property
    def amount(self) -> Decimal | None:
        """Extracted from the case."""

    @property
    def currency(self) -> str | None:
        """Extracted from the case."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A job's case as it is stored."""

    idempotency_key: str
    case_body: str
    creditor_reference: str | None
    amount: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Protection:
    """A deployment's encryption settings."""

    keyring: Keyring | None = None
    """None if nothing is encrypted or hidden."""
    hides_reference: bool = False
    hides_amount: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Protection:
        """Read the settings from the environment. Raises SettingsError."""
        return protection_from(*read_protection(environ))

    def kept(self, job_id: UUID, case: Facts) -> Kept:
        """The stored form of a job's case."""
        return Kept(
            hidden_key(case.external_tenant_id, case.idempotency_key) if self.hides_reference else case.idempotency_key,
            self.seal_case(job_id, case.case_body),
            None if self.hides_reference else case.creditor_reference,
            None if self.hides_amount else case.amount,
            None if self.hides_amount else case.currency,
        )

    def seal_case(self, job_id: UUID, body: str) -> str:
        """Encrypt a version of the job's case."""
        return self._seal(body, f"job:{job_id}")

    def open_case(self, job_id: UUID, body: str) -> str:
        """Decrypt a version of the job's case. Raises CaseSealed."""
        return self._open(body, f"job:{job_id}")

    def seal_message(self, dead_letter_id: int, sent: str) -> str:
        """Encrypt the content of an unreadable message."""
        return self._seal(sent, f"message:{dead_letter_id}")

    def open_message(self, dead_letter_id: int, sent: str) -> str:
        """Decrypt the content of an unreadable message. Raises CaseSealed."""
        return self._open(sent, f"message:{dead_letter_id}")

    def _seal(self, text: str, place: str) -> str:
        return self.keyring.seal(text, place) if self.keyring else text

    def _open(self, text: str, place: str) -> str:
        key = key_of(text)
        if key is None:
            return text
        if self.keyring is None:
            raise CaseSealed(key)
        return self.keyring.open(text, place)


UNPROTECTED = Protection()


def key_digest(tenant: str, key: str) -> bytes:
    """The digest that identifies a tenant's idempotency key, the same for the plain and the hidden form.

    The database's function `job_key` computes the same; a test compares them.
    """
    if _HIDDEN_KEY.fullmatch(key):
        return bytes.fromhex(key[len(HIDDEN) :])
    return sha256(f"{len(tenant)}:{tenant}{key}".encode()).digest()


def hidden_key(tenant: str, key: str) -> str:
    """The hidden form of an idempotency key: only its digest."""
    return HIDDEN + key_digest(tenant, key).hex()


@lru_cache(maxsize=16)
def protection_from(keys: tuple[bytes, ...], readable: tuple[str, ...]) -> Protection:
    """The protection with these keys (newest first) and plain-text fields."""
    if not keys:
        return UNPROTECTED
    return Protection(Keyring(keys), hides_reference="reference" not in readable, hides_amount="amount" not in readable)


def read_protection(environ: Mapping[str, str]) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """Read CASE_ENCRYPTION_KEYS (newest first) and CASE_PLAINTEXT_FIELDS. Raises SettingsError.

    Separate from the other settings, because a web app that enqueues needs only these two.
    """
    try:
        keys = parse_keys(setting_text(environ, "CASE_ENCRYPTION_KEYS"))
    except ValueError as error:
        raise SettingsError(
            "CASE_ENCRYPTION_KEYS should be keys of 32 random bytes in base64 or hex, the newest first"
            f" (`case-worker make-key` makes one): {error}"
        ) from None
    text = setting_text(environ, "CASE_PLAINTEXT_FIELDS")
    if not text and (text := setting_text(environ, "CASE_READABLE")):
        warnings.warn("CASE_READABLE is now called CASE_PLAINTEXT_FIELDS", FutureWarning, stacklevel=2)
    readable = tuple(dict.fromkeys(part for part in re.split(r"[\s,]+", text) if part))
    if not set(readable) <= set(PLAINTEXT_FIELDS):
        raise SettingsError(
            f"CASE_PLAINTEXT_FIELDS should be a list of {' and '.join(PLAINTEXT_FIELDS)}, or empty, not {text!r}"
        )
    return keys, readable
