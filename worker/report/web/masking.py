"""Which parts of a case may be seen by everybody, and which only after somebody has asked to see them.

By a list of what is harmless: a field that nobody has thought of is hidden. (The fields are those of
referral-partners/integration-guides/case-submission.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from worker.report.diff import MISSING, Change, leaves

_HARMLESS = {
    "currencyCode", "amountToRecover", "amountToRecoverOver6Months", "amountToRecoverOver12Months",
    "amountToRecoverOver24Months", "date", "dueDate", "creditorReference", "allowPendingContracts", "isTest", "tag",
    "skipDebituraVerification", "skipCreationEmails", "collectionPartnerId", "creditorDivisionId", "debtor.type",
    "debtor.countryAlpha2", "debtor.stateAlpha2", "claims[].amount", "claims[].amountToRecover",
    "claims[].currencyCode", "claims[].currency", "claims[].date", "claims[].dueDate", "claims[].reference",
    "claims[].creditorReference",
}  # fmt: skip
_PLACE = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Shown:
    """One value of a case, or what stands for it."""

    path: str
    value: str | None
    """None: it is hidden."""


@dataclass(frozen=True, slots=True)
class ShownChange:
    """One place where two wordings differ; what is hidden, or not there, is None."""

    path: str
    hidden: bool
    old: str | None
    new: str | None


def is_harmless(path: str) -> bool:
    """Whether everybody may see what stands there."""
    return _PLACE.sub("[]", path) in _HARMLESS


def shown_case(case: Any, *, revealed: bool) -> list[Shown]:
    """Every value of a case, those that may not be seen left out."""
    return [Shown(path, as_text(value) if revealed or is_harmless(path) else None) for path, value in leaves(case)]


def shown_change(change: Change, *, revealed: bool) -> ShownChange:
    """Where two wordings differ, and how, as far as it may be seen."""
    if not revealed and not is_harmless(change.path):
        return ShownChange(change.path, hidden=True, old=None, new=None)
    return ShownChange(change.path, hidden=False, old=_side(change.old), new=_side(change.new))


def as_text(value: Any) -> str:
    """A value of a case in the way in which people write it."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case Decimal():
            return format(value, "f")
        case dict():
            return "{}"
        case list():
            return "[]"
    return str(value)


def _side(value: Any) -> str | None:
    if value is MISSING:
        return None
    return as_text(value) if not isinstance(value, dict | list) else ", ".join(as_text(v) for _, v in leaves(value))
