"""The report for programs: JSON with everything, CSV for spreadsheets. Both stream from the database."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TextIO
from uuid import UUID

from worker.ledger.queries import Failure, FailureFilter, Group
from worker.report.advice import what_to_do
from worker.report.formatting import number

CSV_COLUMNS = (
    "job_id",
    "external_tenant_id",
    "creditor_reference",
    "amount",
    "currency",
    "reason",
    "invalid_client_link",
    "http_status",
    "error_type",
    "message",
    "solution_url",
    "outcome_unknown",
    "attempts",
    "created_at",
    "what_to_do",
    "dead_letter_id",
)

# A spreadsheet runs a cell as a formula if it begins with one of these or their full-width forms. In another locale, a
# cell may also begin after a semicolon, with or without quotes.
_FORMULA = re.compile(r"(^|;)([\s\"]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def cell(value: Any) -> str:
    """Format a value as a CSV cell that no spreadsheet runs as a formula.

    Such text gets an apostrophe in front; control characters, which could end a line, become spaces. Numbers and times
    are our own and stay unchanged.
    """
    match value:
        case None:
            return ""
        case str():
            return _FORMULA.sub(r"\1'\2", _CONTROL.sub(" ", value))
        case _:
            return str(plain(value))


def plain(value: Any) -> Any:
    """A value of the ledger for JSON: amounts as exact text, times in ISO 8601, durations in seconds."""
    match value:
        case bool() | int() | str() | None:
            return value
        case Decimal():
            return number(value)
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
        case Mapping():
            return {name: plain(member) for name, member in value.items()}
        case list() | tuple():
            return [plain(member) for member in value]
    return value


def as_json(value: Any) -> str:
    """A value of the ledger as indented JSON text."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False)


def row_of(failure: Failure) -> dict[str, Any]:
    """A failure as a dict, with advice."""
    return asdict(failure) | {"what_to_do": what_to_do(failure.reason, failure.error_type)}


def group_of(cause: Group) -> dict[str, Any]:
    """A cause as a dict, with amounts as plain numbers and advice."""
    amounts = {currency: number(Decimal(amount)) for currency, amount in sorted(cause.amounts.items())}
    return asdict(cause) | {"amounts": amounts, "what_to_do": what_to_do(cause.reason, cause.error_type)}


def write_csv(out: TextIO, failures: Iterable[Failure]) -> None:
    """Write a header and one row per failure."""
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(CSV_COLUMNS)
    for failure in failures:
        row = row_of(failure)
        writer.writerow([cell(row[name]) for name in CSV_COLUMNS])


def write_json(
    out: TextIO, *, now: datetime, wanted: FailureFilter, groups: Iterable[Group], failures: Iterable[Failure]
) -> None:
    """Write one object: time, filter, groups, failures. Each failure takes one line."""

    def listed(items: Iterable[Any], show: Callable[[Any], dict[str, Any]]) -> None:
        separator = "\n"
        for item in items:
            out.write(f"{separator}    {json.dumps(plain(show(item)), ensure_ascii=False)}")
            separator = ",\n"
        out.write("\n  ]")

    out.write(f'{{\n  "generated_at": {json.dumps(plain(now))},\n')
    out.write(f'  "filter": {json.dumps(plain(wanted.as_dict()), ensure_ascii=False)},\n  "groups": [')
    listed(groups, group_of)
    out.write(',\n  "failures": [')
    listed(failures, row_of)
    out.write("\n}\n")
