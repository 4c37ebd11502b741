"""Where two cases differ, by JSON path. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from worker.case.fields import members


class Missing(Enum):
    """The value of what is not there. (JSON's null is a value: None.)"""

    MISSING = "missing"


MISSING = Missing.MISSING


@dataclass(frozen=True, slots=True)
class Change:
    """One place where two cases differ."""

    path: str
    """As the API names fields: `debtor.email`, `claims[0].amount`; empty for the whole case."""
    old: Any
    """MISSING: it was added."""
    new: Any
    """MISSING: it was taken away."""


def differences(old: Any, new: Any) -> list[Change]:
    """Where two JSON values differ, in the order of the old one, what is new last.

    Only leaves are listed, and empty or added objects and lists. Numbers are compared by value (1250.1 is 1250.10), and
    true is not 1.
    """
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> list[Change]:
    if type(old) is type(new) and isinstance(old, (dict, list)):
        before, after = members(old, path), members(new, path)
        found: list[Change] = []
        for member in dict.fromkeys([*before, *after]):
            _, was = before.get(member, (None, MISSING))
            _, now = after.get(member, (None, MISSING))
            found += _differences(was, now, member)
        return found
    return [] if _same(old, new) else [Change(path, old, new)]


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    numbers = (int, float, Decimal)
    if isinstance(old, numbers) and isinstance(new, numbers):
        return _exact(old) == _exact(new)
    return type(old) is type(new) and bool(old == new)


def _exact(value: float | Decimal) -> Decimal:
    return Decimal(str(value)) if isinstance(value, float) else Decimal(value)
