"""Filters in a page's address, so that a view can be shared as a link.

Report invalid parts and never skip them: without one, the selection would be wider than the user expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from worker.case.codec import check_text
from worker.errors import InvalidCase
from worker.ledger.queries.filters import FailureFilter
from worker.ledger.states import Reason
from worker.report.formatting import age_text, parse_age, parse_amount

#: What PostgreSQL's numeric(20, 4) and bigint hold.
_LARGEST = Decimal(10) ** 16
_HIGHEST_ID = 2**63 - 1


def _words(text: str) -> str:
    try:
        check_text(text, "text")
    except InvalidCase as error:
        raise ValueError(error.problem) from None
    if len(text) > 1000:
        raise ValueError("should have at most 1,000 characters")
    return text


def _reason(text: str) -> str:
    try:
        return Reason(text).value
    except ValueError:
        raise ValueError("is not a known reason") from None


def _status(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 100 <= int(text[:6]) <= 599):
        raise ValueError("should be a status from 100 to 599")
    return int(text)


def _amount(text: str) -> Decimal:
    amount = parse_amount(text)
    if not -_LARGEST < amount < _LARGEST:
        raise ValueError("should have at most 16 digits before the point")
    return amount


def _currency(text: str) -> str:
    if not (len(text) == 3 and text.isascii() and text.isalpha()):
        raise ValueError("should have three letters, such as EUR")
    return text.upper()


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise ValueError("should be a time such as 2026-01-31T08:00:00+00:00") from None
    if moment.tzinfo is None:
        raise ValueError("should have a time zone")
    return moment


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("should be UUIDs") from None


def _letters(text: str) -> tuple[int, ...]:
    numbers = text.split(".")
    if not all(n.isascii() and n.isdecimal() and int(n) <= _HIGHEST_ID for n in numbers):
        raise ValueError("should be numbers")
    return tuple(int(n) for n in numbers)


def _jobs(text: str) -> tuple[UUID, ...]:
    return tuple(_uuid(part) for part in text.split("."))


#: Name in the address: (field of the filter, parser, formatter).
_PARTS: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], str]]] = {
    "tenant": ("tenant", _words, str),
    "reason": ("reason", _reason, str),
    "links": ("invalid_links", lambda text: text == "invalid", lambda _: "invalid"),
    "type": ("error_type", _words, str),
    "status": ("http_status", _status, str),
    "min": ("min_amount", _amount, lambda value: format(value, "f")),
    "max": ("max_amount", _amount, lambda value: format(value, "f")),
    "currency": ("currency", _currency, str),
    "within": ("since", parse_age, age_text),
    "older": ("older_than", parse_age, age_text),
    "from": ("failed_from", _moment, datetime.isoformat),
    "before": ("failed_before", _moment, datetime.isoformat),
    "reference": ("reference", _words, str),
    "text": ("text", _words, str),
    "cause": ("cause", _uuid, str),
    "jobs": ("jobs", _jobs, lambda ids: ".".join(str(i) for i in ids)),
    "ids": ("letters", _letters, lambda ids: ".".join(str(i) for i in ids)),
}


@dataclass(frozen=True, slots=True)
class ParsedFilter:
    """A filter parsed from an address."""

    filter: FailureFilter
    typed: dict[str, str]
    """The parts as typed."""
    problems: dict[str, str]
    """Invalid parts, with the reason. If there are any, list and change nothing."""

    @property
    def query(self) -> str:
        """The parts as a query string, without a question mark."""
        return urlencode(self.typed)

    def without(self, *names: str) -> str:
        """The query string without some parts."""
        return urlencode({name: value for name, value in self.typed.items() if name not in names})


def read_parts(
    query: Mapping[str, str], parts: Mapping[str, tuple[str, Callable[[str], Any], *tuple[Any, ...]]]
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """Parse the parts of a filter in an address. `parts` maps each name there to (field of the filter, parser).

    Returns the parsed values by field, the typed texts by name, and the problems by name.
    """
    typed = {name: query[name].strip() for name in parts if query.get(name, "").strip()}
    found: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, text in typed.items():
        part, read, *_ = parts[name]
        try:
            found[part] = read(text)
        except (ValueError, OverflowError) as error:
            problems[name] = str(error)
    return found, typed, problems


def read_filter(query: Mapping[str, str]) -> ParsedFilter:
    """Parse the filter in an address or a form."""
    found, typed, problems = read_parts(query, _PARTS)
    return ParsedFilter(FailureFilter() if problems else FailureFilter(**found), typed, problems)


def read_query(text: str) -> ParsedFilter:
    """Parse the filter in a query string."""
    return read_filter(dict(parse_qsl(text)))


def query_for(wanted: FailureFilter) -> str:
    """The query string for a filter."""
    parts = {name: (getattr(wanted, part), write) for name, (part, _, write) in _PARTS.items()}
    return urlencode({name: write(value) for name, (value, write) in parts.items() if _narrows(value)})


def selection(stored: Mapping[str, Any]) -> dict[str, str] | None:
    """A stored filter as the parts of an address, empty for all failures; None if an older version stored it."""
    try:
        return read_query(query_for(FailureFilter.from_dict(dict(stored)))).typed
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None


def _narrows(value: Any) -> bool:
    """Whether a field of a filter is set. (An amount of 0 is, although it equals False.)"""
    return value is not None and value is not False and value != ()


def ticked(values: Iterable[str]) -> tuple[int, ...]:
    """The ids of the ticked dead letters, without duplicates. Raises ValueError for an invalid id."""
    return tuple(dict.fromkeys(number for value in values for number in _letters(value)))
