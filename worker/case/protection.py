"""What of a case stands in the ledger so that people with SQL could read it, and what is sealed.

Without keys everything is readable. With keys the case is sealed; its amount and reference stay readable only if
CASE_PLAINTEXT_FIELDS names them. A hidden reference hides the idempotency key too, since the key is made of it: only
the key's digest is stored. A job is found by its key in either form, since both have the same digest.
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

#: What CASE_PLAINTEXT_FIELDS may name.
PLAINTEXT_FIELDS = ("amount", "reference")
#: What a stored idempotency key begins with of which only the digest is kept.
HIDDEN = "hidden:sha256:"
_HIDDEN_KEY = re.compile(r"hidden:sha256:[0-9a-f]{64}")


class Facts(Protocol):
    """A job's case as the door let it in."""

    @property
    def external_tenant_id(self) -> str:
        """Whose it is."""

    @property
    def idempotency_key(self) -> str:
        """As the sender knows it."""

    @property
    def case_body(self) -> str:
        """The JSON text."""

    @property
    def creditor_reference(self) -> str | None:
        """Lifted out of the case."""

    @property
    def amount(self) -> Decimal | None:
        """Lifted out of the case."""

    @property
    def currency(self) -> str | None:
        """Lifted out of the case."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The same as it stands in the ledger."""

    idempotency_key: str
    case_body: str
    creditor_reference: str | None
    amount: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Protection:
    """A deployment's decision."""

    keyring: Keyring | None = None
    """None: nothing is sealed or hidden."""
    hides_reference: bool = False
    hides_amount: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Protection:
        """What the environment asks for, whatever else is in it. Raises SettingsError."""
        return protection_from(*read_protection(environ))

    def kept(self, job_id: UUID, case: Facts) -> Kept:
        """What is stored of a job's case."""
        return Kept(
            hidden_key(case.external_tenant_id, case.idempotency_key) if self.hides_reference else case.idempotency_key,
            self.seal_case(job_id, case.case_body),
            None if self.hides_reference else case.creditor_reference,
            None if self.hides_amount else case.amount,
            None if self.hides_amount else case.currency,
        )

    def seal_case(self, job_id: UUID, body: str) -> str:
        """A wording of that job's case, as it is stored."""
        return self._seal(body, f"job:{job_id}")

    def open_case(self, job_id: UUID, body: str) -> str:
        """The wording again. Raises CaseSealed."""
        return self._open(body, f"job:{job_id}")

    def seal_message(self, dead_letter_id: int, sent: str) -> str:
        """What was sent as an unreadable message, as it is stored."""
        return self._seal(sent, f"message:{dead_letter_id}")

    def open_message(self, dead_letter_id: int, sent: str) -> str:
        """What was sent. Raises CaseSealed."""
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
    """What a tenant's idempotency key is found by: the same for the key and for its hidden form.

    The database's function `job_key` computes the same; a test compares them.
    """
    if _HIDDEN_KEY.fullmatch(key):
        return bytes.fromhex(key[len(HIDDEN) :])
    return sha256(f"{len(tenant)}:{tenant}{key}".encode()).digest()


def hidden_key(tenant: str, key: str) -> str:
    """The form of an idempotency key that tells nothing of it."""
    return HIDDEN + key_digest(tenant, key).hex()


@lru_cache(maxsize=16)
def protection_from(keys: tuple[bytes, ...], readable: tuple[str, ...]) -> Protection:
    """The protection by these keys (the newest first) that leaves these fields in plain text."""
    if not keys:
        return UNPROTECTED
    return Protection(Keyring(keys), hides_reference="reference" not in readable, hides_amount="amount" not in readable)


def read_protection(environ: Mapping[str, str]) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """CASE_ENCRYPTION_KEYS and CASE_PLAINTEXT_FIELDS: the keys, the newest first, and what stays readable.

    Raises SettingsError. Apart from the others, since a web app that enqueues needs these two only.
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
