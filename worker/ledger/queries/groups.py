"""The open failures grouped by cause: what one person does once helps all jobs of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.fingerprint import pattern_of
from worker.ledger.queries.filters import OPEN_FAILURES, FailureFilter, conditions_of
from worker.ledger.queries.overview import moment_of

#: Bars of a histogram.
BUCKETS = 24
#: How much time one bar may stand for; the first that lets the bars reach back far enough is taken.
_WIDTHS = tuple(timedelta(minutes=m) for m in (5, 15, 60, 180, 720, 1440, 4320, 10_080, 43_200))


@dataclass(frozen=True, slots=True)
class Group:
    """Open failures of one cause: the same reason, error type and message, but for numbers, ids and quoted values."""

    reason: str
    invalid_client_link: bool
    error_type: str | None
    message: str | None
    """The newest failure's."""
    failures: int
    """Jobs; for `malformed_message`, messages."""
    tenants: int
    amounts: dict[str, str]
    """The sum by currency, each a plain decimal number; `?` for amounts whose currency is not known. The currency of
    most jobs first: sums of different currencies say nothing about which is more."""
    without_amount: int
    """Failures whose amount is not known: they are in none of the sums."""
    first_seen: datetime
    last_seen: datetime
    solution_url: str | None
    """Where somebody clears it, if that is the same page for the whole group."""
    solution_urls: int
    """How many different pages there are."""
    key: UUID | None = None
    """For `FailureFilter.cause`."""
    pattern: str | None = None
    """The message with `#` for what differs between jobs."""
    newest: int = 0
    """The id of its newest dead letter."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups with most failures, and how many there are in all."""

    groups: list[Group]
    total: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """When failures came: BUCKETS bars of the same width, the last one holding the present."""

    start: datetime
    width: timedelta
    bars: dict[UUID, tuple[int, ...]]
    """By the key of a group, oldest first. What came before `start` is in the first bar."""


# One walk over two indexes, and three short looks at what it found: each has few results, where a single grouping by
# cause, tenant, currency and page would have nearly as many as there are failures.
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
    """The causes of the open failures that fit, the most frequent first. `limit` None: all of them."""
    conditions, parameters = conditions_of(wanted)
    statement = _GROUPS.format(source=OPEN_FAILURES, conditions=conditions, pattern=_PATTERN)
    rows = connection.execute(text(statement), {**parameters, "limit": limit}).mappings().all()
    found = [Group(**{name: value for name, value in row.items() if name != "groups"}) for row in rows]
    return Groups(found, rows[0]["groups"] if rows else 0)


def histogram(connection: Connection, wanted: FailureFilter, of: Sequence[Group]) -> Histogram:
    """When the failures of these groups came, all on one axis: as far back as the oldest of them, to the present."""
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
    """Where the bars begin, and how wide they are. They end at a multiple of their width: so they stand still while a
    page is loaded again, and move on by one bar."""
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    for width in _WIDTHS:
        start = zero + ((now - zero) // width + 1 - BUCKETS) * width
        if start <= oldest:
            break
    return start, width
