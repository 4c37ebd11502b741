"""What one check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may hurt one day."""
    FAILED = "FAILED"
    """Nothing works, or not all, until it is fixed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. Never holds a secret."""

    name: str
    verdict: Verdict
    said: str
    fix: str | None = None
    """How to fix it, where there is something to fix."""
