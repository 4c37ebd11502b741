"""The audit log's filter in a page's address."""

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
class ParsedAuditFilter:
    """An audit filter parsed from an address."""

    filter: AuditFilter
    typed: dict[str, str]
    """The parts as typed."""
    problems: dict[str, str]
    """Invalid parts, with the reason. If there are any, list nothing."""

    @property
    def query(self) -> str:
        """The parts as a query string, without a question mark."""
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
        raise ValueError("is too late a day") from None


#: Name in the address: (field of the filter, parser). Days are in UTC; both ends are included.
_PARTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "who": ("actor", _words),
    "action": ("action", _words),
    "job": ("job", _job),
    "from": ("since", _day),
    "to": ("before", _day_after),
}


def read_audit_filter(query: Mapping[str, str]) -> ParsedAuditFilter:
    """Parse the filter in an address."""
    found, typed, problems = read_parts(query, _PARTS)
    return ParsedAuditFilter(AuditFilter() if problems else AuditFilter(**found), typed, problems)
