"""The front page: open failures by cause, their amounts, what to do, and the state of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from markupsafe import Markup
from starlette.responses import Response

from worker.ledger import queries
from worker.ledger.queries import Group, Groups, Histogram, Tiles
from worker.ledger.queries.groups import BUCKETS
from worker.ledger.queries.waiting import FleetWaits, fleet_waits
from worker.ledger.states import Reason, State
from worker.ledger.writer.holds import HoldName
from worker.report.advice import what_to_do
from worker.report.overview import brake_as_data
from worker.report.waiting import describe_estimate, describe_fleet
from worker.report.web import addresses, chart
from worker.report.web.request_context import RequestContext

#: Causes shown at most; the rest are rare.
MOST = 60


@dataclass(frozen=True, slots=True)
class Cause:
    """One group of failures, ready for the template."""

    group: Group
    amounts: list[tuple[str, Decimal]]
    todo: str
    drawing: Markup
    query: str
    """The filter for its jobs."""
    is_message: bool
    """Whether its failures are unreadable messages, not jobs."""


def front(context: RequestContext) -> Response:
    """Show the tiles, the filter and the causes."""
    wanted = addresses.read_filter(context.query)
    with context.snapshot() as connection:
        tiles = queries.tiles(connection)
        waits = fleet_waits(connection, context.report.pace)
        menus = context.report.menus.read(connection)
        found = Groups([], 0) if wanted.problems else queries.groups(connection, wanted.filter, limit=MOST)
        bars = queries.histogram(connection, wanted.filter, found.groups)
    return context.page(
        "front.html", 400 if wanted.problems else 200, tiles=tiles, stake=sums(tiles.amounts), menus=menus,
        wanted=wanted, total=found.total, causes=[_cause(group, bars, wanted) for group in found.groups],
        pipeline=pipeline(tiles, waits), axis=BUCKETS * bars.width.total_seconds(),
        brake=brake_as_data(waits), stopped_money=sums(waits.amounts),
    )  # fmt: skip


def sums(amounts: dict[str, str]) -> list[tuple[str, Decimal]]:
    """Sums by currency, in the query's order: the currency with the most jobs first."""
    return [(currency, Decimal(total)) for currency, total in amounts.items()]


def pipeline(tiles: Tiles, waits: FleetWaits) -> dict[str, Any]:
    """The state of the pipeline: a label, its colour, and a sentence for each reason why jobs wait."""
    living = tiles.living
    why = describe_fleet(waits)
    names = {hold["name"] for hold in waits.holds}
    if waits.unpublished_since is not None:
        word, tone = "Broker unavailable", "trouble"
    elif tiles.leader is None:
        word, tone = "No worker is running", "trouble"
    elif HoldName.API_KEY in names:
        word, tone = "Partner key rejected", "trouble"
    elif HoldName.BRAKE in names:
        word, tone = "Stopped by the brake", "trouble"
    elif names:
        word, tone = "On hold", "data"
    elif any(window.frees_in is not None for window in waits.windows):
        word, tone = "Rate limit used up", "data"
    else:
        word, tone = "Running", "good"
    return {
        "word": word,
        "tone": tone,
        "why": why,
        "estimate": describe_estimate(waits),
        "waiting": living.get(State.PENDING, 0) + living.get(State.WAITING, 0),
        "queued": living.get(State.QUEUED, 0),
        "submitting": living.get(State.SUBMITTING, 0),
        "held": living.get(State.HELD, 0),
        "submitted_today": tiles.submitted_today,
    }


def _cause(group: Group, bars: Histogram, wanted: addresses.ParsedFilter) -> Cause:
    key: UUID | None = group.key
    counts = bars.bars.get(key, ()) if key else ()
    more = wanted.without("cause")
    return Cause(
        group,
        sums(group.amounts),
        what_to_do(group.reason, group.error_type),
        chart.bars(counts, start=bars.start, width=bars.width),
        f"cause={key}" + (f"&{more}" if more else ""),
        group.reason == Reason.MALFORMED_MESSAGE,
    )
