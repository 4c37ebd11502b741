"""The filter shared by pages, commands and bulk operations: its SQL, and the options of its menus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.fingerprint import TYPE, words_of

#: The source of every query of open failures. A job with an open dead letter is dead; stating it lets the query read
#: tenant and amount from `ix_jobs_dead` alone.
OPEN_FAILURES = "dead_letters d LEFT JOIN jobs j ON j.id = d.job_id AND j.state = 'dead'"

#: Indexed characters of a reference; the rest is compared with the row.
_REFERENCE = 50


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Selects open failures: all parts must match; None, False and empty match any."""

    tenant: str | None = None
    reason: str | None = None
    invalid_links: bool = False
    since: timedelta | None = None
    """At most this old."""
    older_than: timedelta | None = None
    """At least this old."""
    failed_from: datetime | None = None
    """Failed at this time or later; with a time zone."""
    failed_before: datetime | None = None
    """Failed before this time; with a time zone."""
    error_type: str | None = None
    """The API's error type, exactly."""
    http_status: int | None = None
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None
    currency: str | None = None
    reference: str | None = None
    """The creditorReference, exactly."""
    text: str | None = None
    """Words that each must begin a word of the message: `email inv` finds `debtor.email: Invalid address`. Case is
    ignored (beyond ASCII: if the database's locale supports it); text without a letter or digit finds nothing."""
    cause: UUID | None = None
    """The key of a group."""
    jobs: tuple[UUID, ...] = ()
    """Only these jobs."""
    letters: tuple[int, ...] = ()
    """Only these dead letters, by id (ticked on a page)."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the audit log, a stored operation and the JSON report.

        The four oldest parts are always present, the others only if set.
        """
        oldest = {
            "tenant": self.tenant,
            "reason": self.reason,
            "invalid_links": self.invalid_links,
            "since_seconds": self.since.total_seconds() if self.since else None,
        }
        others = {
            "older_than_seconds": self.older_than.total_seconds() if self.older_than else None,
            "failed_from": self.failed_from.isoformat() if self.failed_from else None,
            "failed_before": self.failed_before.isoformat() if self.failed_before else None,
            "error_type": self.error_type,
            "http_status": self.http_status,
            "min_amount": _plain(self.min_amount),
            "max_amount": _plain(self.max_amount),
            "currency": self.currency,
            "reference": self.reference,
            "text": self.text,
            "cause": str(self.cause) if self.cause else None,
            "jobs": [str(job) for job in self.jobs] or None,
            "letters": list(self.letters) or None,
        }
        return oldest | {name: value for name, value in others.items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Parse the result of `as_dict`. Raises KeyError, TypeError, ValueError or ArithmeticError if invalid."""
        convert: dict[str, Callable[[Any], Any]] = {
            "since": _seconds, "older_than": _seconds, "failed_from": datetime.fromisoformat,
            "failed_before": datetime.fromisoformat, "min_amount": Decimal, "max_amount": Decimal, "cause": UUID,
            "jobs": lambda ids: tuple(UUID(i) for i in ids), "letters": tuple,
        }  # fmt: skip
        given = {name.removesuffix("_seconds"): value for name, value in values.items() if value is not None}
        if unknown := given.keys() - {field.name for field in fields(cls)}:
            raise KeyError(f"a filter has no {', '.join(sorted(unknown))}")
        return cls(**{name: convert.get(name, _same)(value) for name, value in given.items()})

    def fixed_at(self, now: datetime) -> Self:
        """The filter with ages converted to times, so that the selection does not change as time passes."""
        bounds = [self.failed_from, now - self.since if self.since else None]
        ends = [self.failed_before, now - self.older_than if self.older_than else None]
        return replace(
            self, since=None, older_than=None,
            failed_from=max((b for b in bounds if b), default=None),
            failed_before=min((e for e in ends if e), default=None),
        )  # fmt: skip


# The SQL of each part of the filter.
_SINCE = "d.created_at >= now() - make_interval(secs => :since)"
_PARTS = {
    "tenant": "j.external_tenant_id = :tenant",
    "reason": "d.reason = :reason",
    "invalid_links": "d.invalid_client_link",
    "since": _SINCE,
    "older_than": "d.created_at < now() - make_interval(secs => :older_than)",
    "failed_from": "d.created_at >= :failed_from",
    "failed_before": "d.created_at < :failed_before",
    "error_type": f"d.error_type = left(:error_type, {TYPE})",
    "http_status": "d.http_status = :http_status",
    "min_amount": "j.amount >= :min_amount",
    "max_amount": "j.amount <= :max_amount",
    "currency": "j.currency = :currency",
    "reference": f"left(j.creditor_reference, {_REFERENCE}) = left(:reference, {_REFERENCE})"
    " AND j.creditor_reference = :reference",
    # The database splits the words like the index does; without any word, nothing matches.
    "text": "d.words @@ to_tsquery('simple', "
    f"regexp_replace(NULLIF(trim({words_of('CAST(:text AS text)')}), ''), ' +', ':* & ', 'g') || ':*')",
    "cause": "d.cause = :cause",
    "jobs": "d.job_id = ANY(:jobs)",
    "letters": "d.id = ANY(:letters)",
}


def conditions_of(wanted: FailureFilter) -> tuple[str, dict[str, Any]]:
    """The filter as SQL conditions on OPEN_FAILURES, each preceded by AND, and its parameters."""
    given = {name: getattr(wanted, name) for name in _PARTS}
    # Compare by identity: an amount of 0 equals False, and dropping it would widen the selection.
    given = {name: v for name, v in given.items() if v is not None and v is not False and v != ()}
    parameters: dict[str, Any] = {}
    for name, value in given.items():
        match value:
            case True:
                continue
            case timedelta():
                parameters[name] = value.total_seconds()
            case tuple():
                parameters[name] = list(value)
            case _:
                parameters[name] = value
    return " ".join(f"AND {_PARTS[name]}" for name in given), parameters


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Menus:
    """Filter options with their number of open failures, most frequent first."""

    tenants: list[tuple[str, int]]
    """Only those with the most failures."""
    reasons: list[tuple[str, int]]
    error_types: list[tuple[str, int]]
    """The first hundred characters, as `FailureFilter.error_type` compares them."""
    http_statuses: list[tuple[int, int]]
    currencies: list[tuple[str, int]]


_FACTS = text(
    "SELECT reason, error_type, http_status, count(*) AS failures FROM dead_letters WHERE resolved_at IS NULL"
    " GROUP BY 1, 2, 3 ORDER BY failures DESC LIMIT 2000"
)
_JOBS = text(
    "SELECT external_tenant_id AS tenant, currency, count(*) AS failures FROM jobs WHERE state = 'dead' GROUP BY 1, 2"
)


def menus(connection: Connection, *, longest: int = 200) -> Menus:
    """The filter options, at most `longest` of each kind."""
    reasons, types, tenants, currencies = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    statuses = Counter[int]()
    for row in connection.execute(_FACTS):
        reasons[row.reason] += row.failures
        if row.error_type:
            types[row.error_type] += row.failures
        if row.http_status:
            statuses[row.http_status] += row.failures
    for row in connection.execute(_JOBS):
        tenants[row.tenant] += row.failures
        if row.currency:
            currencies[row.currency] += row.failures
    return Menus(
        tenants.most_common(longest),
        reasons.most_common(longest),
        types.most_common(longest),
        statuses.most_common(longest),
        currencies.most_common(longest),
    )
