"""Open failures grouped by cause: one fix resolves all jobs of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.fingerprint import pattern_of
from worker.ledger.queries.filters import OPEN_FAILURES, FailureFilter, conditions_of
from worker.ledger.queries.overview import moment_of

#: Bars in a histogram.
BUCKETS = 24
#: Possible widths of a bar; the smallest that covers all failures is used.
_WIDTHS = tuple(timedelta(minutes=m) for m in (5, 15, 60, 180, 720, 1440, 4320, 10_080, 43_200))


@dataclass(frozen=True, slots=True)
class Group:
    """Open failures of one cause: the same reason, error type and message, ignoring numbers, ids and quoted values."""

    reason: str
    invalid_client_link: bool
    error_type: str | None
    message: str | None
    """The message of the newest failure."""
    failures: int
    """Jobs; for `malformed_message`, messages."""
    tenants: int
    amounts: dict[str, str]
    """Sums by currency as plain decimal numbers; `?` for an unknown currency. Ordered by number of jobs, because sums
    in different currencies cannot be compared.
    """
    without_amount: int
    """Failures with an unknown amount, which are in none of the sums."""
    first_seen: datetime
    last_seen: datetime
    solution_url: str | None
    """The link that resolves it, if the whole group shares one."""
    solution_urls: int
    """The number of different links."""
    key: UUID | None = None
    """For `FailureFilter.cause`."""
    pattern: str | None = None
    """The message with `#` for the parts that vary."""
    newest: int = 0
    """The id of its newest dead letter."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups with the most failures, and the total number of groups."""

    groups: list[Group]
    total: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Failures over time: BUCKETS bars of equal width, the last one containing the present."""

    start: datetime
    width: timedelta
    bars: dict[UUID, tuple[int, ...]]
    """By group key, oldest first. The first bar includes failures before `start`."""


# Scan two indexes once, then aggregate the result three times: each has few rows, while a single grouping by cause,
# tenant, currency and link would have nearly as many as there are failures.
_GROUPS = """
    WITH found AS MATERIALIZED (
        SELECT d.id, d.cause, d.solution, d.created_at, j.external_tenant_id AS tenant, j.currency, j.amount
        FROM {source}
        WHERE d.resolved_at IS NULL {conditions}
    ), parts AS (
        SELECT cause, COALESCE(currency, '?') AS currency, count(*) AS failures, count(amount) AS known,
               sum(amount) AS total, min(created_at) AS first_seen, max(created_at) AS last_seen, max(id) AS newest,
               max(id) FILTER (WHERE solution IS NOT NULL) AS solvable
        FROM found GROUP BY 1, 2
    ), chosen AS (
        SELECT cause, sum(failures)::bigint AS failures, (sum(failures) - sum(known))::bigint AS without_amount,
               min(first_seen) AS first_seen, max(last_seen) AS last_seen, max(newest) AS newest,
               max(solvable) AS solvable,
               json_object_agg(currency, total::text ORDER BY known DESC, currency) FILTER (WHERE known > 0) AS amounts,
               count(*) OVER () AS groups
        FROM parts GROUP BY cause ORDER BY failures DESC, cause LIMIT :limit
    ), tenants AS (
        SELECT cause, count(tenant) AS tenants FROM (SELECT cause, tenant FROM found GROUP BY 1, 2) pairs GROUP BY 1
    ), solutions AS (
        SELECT cause, count(*) AS solution_urls
        FROM (SELECT cause, solution FROM found WHERE solution IS NOT NULL GROUP BY 1, 2) pairs GROUP BY 1
    )
    SELECT d.reason, d.invalid_client_link, d.detail ->> 'type' AS error_type, d.detail ->> 'message' AS message,
           failures, tenants, COALESCE(amounts, CAST('{{}}' AS json)) AS amounts, without_amount, first_seen, last_seen,
           CASE WHEN solution_urls = 1 THEN (SELECT s.solution_url FROM dead_letters s WHERE s.id = solvable) END
           AS solution_url, COALESCE(solution_urls, 0) AS solution_urls, chosen.cause AS key, {pattern} AS pattern,
           newest, groups
    FROM chosen JOIN tenants ON tenants.cause = chosen.cause JOIN dead_letters d ON d.id = chosen.newest
    LEFT JOIN solutions ON solutions.cause = chosen.cause
    ORDER BY failures DESC, chosen.cause
"""
_PATTERN = pattern_of("d.detail ->> 'message'")
_BARS = """
    SELECT d.cause, LEAST(GREATEST(width_bucket(date_part('epoch', d.created_at), :start, :end, :buckets), 1), :buckets)
           AS bar, count(*) AS failures
    FROM {source}
    WHERE d.resolved_at IS NULL AND d.cause = ANY(:causes) {conditions}
    GROUP BY 1, 2
"""


def groups(connection: Connection, wanted: FailureFilter, *, limit: int | None = 100) -> Groups:
    """The causes of the matching open failures, most frequent first. `limit` None: all."""
    conditions, parameters = conditions_of(wanted)
    statement = _GROUPS.format(source=OPEN_FAILURES, conditions=conditions, pattern=_PATTERN)
    rows = connection.execute(text(statement), {**parameters, "limit": limit}).mappings().all()
    found = [Group(**{name: value for name, value in row.items() if name != "groups"}) for row in rows]
    return Groups(found, rows[0]["groups"] if rows else 0)


def histogram(connection: Connection, wanted: FailureFilter, of: Sequence[Group]) -> Histogram:
    """The failures of these groups over time, on one axis from the oldest failure to now."""
    now = moment_of(connection)
    start, width = axis(min((group.first_seen for group in of), default=now), now)
    conditions, parameters = conditions_of(wanted)
    rows = connection.execute(
        text(_BARS.format(source=OPEN_FAILURES, conditions=conditions)),
        {
            **parameters,
            "causes": [group.key for group in of],
            "start": start.timestamp(),
            "end": (start + BUCKETS * width).timestamp(),
            "buckets": BUCKETS,
        },
    )
    counts = {group.key: [0] * BUCKETS for group in of if group.key}
    for row in rows:
        counts[row.cause][row.bar - 1] = row.failures
    return Histogram(start, width, {key: tuple(bars) for key, bars in counts.items()})


def axis(oldest: datetime, now: datetime) -> tuple[datetime, timedelta]:
    """The start and width of the bars. They end at a multiple of the width, so that they stay in place when the page is
    reloaded, and move by whole bars."""
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    for width in _WIDTHS:
        start = zero + ((now - zero) // width + 1 - BUCKETS) * width
        if start <= oldest:
            break
    return start, width
