"""The audit view's filter as it stands in a page's address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from worker.ledger.queries.audit import AuditFilter
from worker.report.web.addresses import read_parts


@dataclass(frozen=True, slots=True)
class WantedActs:
    """What an address asks for."""

    filter: AuditFilter
    typed: dict[str, str]
    """The parts as they stand there."""
    problems: dict[str, str]
    """Parts that cannot be read, and why: then nothing is listed."""

    @property
    def query(self) -> str:
        """The same as a query, without a question mark."""
        return urlencode(self.typed)


def _words(text: str) -> str:
    if "\x00" in text or len(text) > 1000:
        raise ValueError("should have at most 1,000 plain characters")
    return text


def _job(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("should be a job's id") from None


def _day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise ValueError("should be a day such as 2026-01-31") from None


def _day_after(text: str) -> datetime:
    try:
        return _day(text) + timedelta(days=1)
    except OverflowError:
        raise ValueError("is the last day that there is") from None


#: Name in the address: part of the filter, and reading it. Days are in UTC, the first and the last one included.
_PARTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "who": ("actor", _words),
    "action": ("action", _words),
    "job": ("job", _job),
    "from": ("since", _day),
    "to": ("before", _day_after),
}


def read_audit_filter(query: Mapping[str, str]) -> WantedActs:
    """The filter in an address."""
    found, typed, problems = read_parts(query, _PARTS)
    return WantedActs(AuditFilter() if problems else AuditFilter(**found), typed, problems)
