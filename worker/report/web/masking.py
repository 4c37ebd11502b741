"""A case as it is shown: what `worker.case.fields` calls harmless to everybody, the rest once somebody reveals it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worker.case.fields import as_text, is_harmless, leaves
from worker.report.diff import MISSING, Change


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


def shown_case(case: Any, *, revealed: bool) -> list[Shown]:
    """Every value of a case, those that may not be seen left out."""
    return [
        Shown(path, as_text(value) if revealed or is_harmless(path, value) else None) for path, value in leaves(case)
    ]


def shown_change(change: Change, *, revealed: bool) -> ShownChange:
    """Where two wordings differ, and how, as far as it may be seen."""
    seen = all(side is MISSING or is_harmless(change.path, side) for side in (change.old, change.new))
    if not revealed and not seen:
        return ShownChange(change.path, hidden=True, old=None, new=None)
    return ShownChange(change.path, hidden=False, old=_side(change.old), new=_side(change.new))


def _side(value: Any) -> str | None:
    if value is MISSING:
        return None
    return as_text(value) if not isinstance(value, dict | list) else ", ".join(as_text(v) for _, v in leaves(value))
