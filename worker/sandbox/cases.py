"""The accepted cases, and look-ups for them."""

from __future__ import annotations

import base64
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """An accepted case. `answer` is the JSON of its InvoiceDto; `created_at` is in seconds since the epoch."""

    id: str
    reference: str
    creditor_reference: str | None
    tenant: str
    idempotency_key: str | None
    digest: bytes
    created_at: float
    answer: bytes

    def as_json(self) -> dict[str, Any]:
        """The case as `GET /_sandbox/cases` shows it."""
        return {
            "id": self.id,
            "reference": self.reference,
            "creditorReference": self.creditor_reference,
            "externalTenantId": self.tenant,
            "idempotencyKey": self.idempotency_key,
            "bodySha256": self.digest.hex(),
            "createdAt": self.created_at,
        }


def new_identity() -> tuple[str, str]:
    """A new case's id (UUID) and its human-readable reference (8 characters)."""
    identity = uuid.uuid4()
    return str(identity), base64.b32encode(identity.bytes[:5]).decode()


class Cases:
    """All cases, in order of creation. Each belongs to one tenant, and only that tenant can find it."""

    def __init__(self) -> None:
        self._by_id: dict[str, Case] = {}
        self._by_reference: dict[str, Case] = {}
        self._by_creditor_reference: dict[tuple[str, str], Case] = {}
        self._per_creditor_reference: Counter[tuple[str, str]] = Counter()
        self._per_body: Counter[tuple[str, bytes]] = Counter()
        self.max_per_creditor_reference = 0
        """The most cases that share one tenant and creditorReference. Above 1, a case was created twice."""
        self.max_per_body = 0
        """The most cases that share one tenant and one body; detects duplicates of cases without a reference."""

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, case: Case) -> None:
        """Store an accepted case."""
        self._by_id[case.id] = case
        self._by_reference[case.reference] = case
        same_body = (case.tenant, case.digest)
        self._per_body[same_body] += 1
        self.max_per_body = max(self.max_per_body, self._per_body[same_body])
        if case.creditor_reference is not None:
            owned = (case.tenant, case.creditor_reference)
            self._by_creditor_reference.setdefault(owned, case)
            self._per_creditor_reference[owned] += 1
            self.max_per_creditor_reference = max(self.max_per_creditor_reference, self._per_creditor_reference[owned])

    def is_used(self, tenant: str, creditor_reference: str | None) -> bool:
        """Whether the tenant's creditor already has a case with this reference."""
        return creditor_reference is not None and (tenant, creditor_reference) in self._by_creditor_reference

    def by_id(self, tenant: str, case_id: str) -> Case | None:
        """The tenant's case with this id."""
        return _owned(self._by_id.get(case_id.lower()), tenant)

    def by_reference(self, tenant: str, reference: str) -> Case | None:
        """The tenant's case with this reference of 8 characters."""
        return _owned(self._by_reference.get(reference), tenant)

    def by_creditor_reference(self, tenant: str, creditor_reference: str) -> Case | None:
        """The tenant's case with this creditorReference."""
        return self._by_creditor_reference.get((tenant, creditor_reference))

    def listed(self) -> list[dict[str, Any]]:
        """All cases for the control endpoint, oldest first."""
        return [case.as_json() for case in self._by_id.values()]


def _owned(case: Case | None, tenant: str) -> Case | None:
    return case if case is not None and case.tenant == tenant else None
