"""What the menus of the filter offer: the values that open failures have."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Menus:
    """Values with how many open failures have them, the most frequent first."""

    tenants: list[tuple[str, int]]
    """Those with most failures only: a menu is no place for thousands."""
    reasons: list[tuple[str, int]]
    error_types: list[tuple[str, int]]
    """As `FailureFilter.error_type` compares them: their first hundred characters."""
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
    """What the open failures have in common, at most `longest` values of each kind."""
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
