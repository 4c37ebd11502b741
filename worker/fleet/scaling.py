"""The autoscaling signal in words and as JSON."""

from __future__ import annotations

from typing import Any

from worker.fleet.reading import Fleet
from worker.fleet.useful import Limit


def as_data(fleet: Fleet) -> dict[str, Any]:
    """What `GET /scaling` answers: counts only."""
    demand, terms, advice = fleet.demand, fleet.terms, fleet.advice
    return {
        "useful_workers": advice.workers,
        "limited_by": advice.limit.value,
        "reasons": describe(fleet),
        "jobs": {"pending": demand.pending, "due_soon": demand.due_soon, "under_way": demand.under_way},
        "oldest_pending_seconds": fleet.counts.oldest_pending_seconds,
        "requests_per_second": {
            "wanted": round(advice.wanted, 3),
            "allowed": round(demand.allowed, 3),
            "expected": round(advice.rate, 3),
        },
        "request_seconds": round(advice.latency, 3),
        "requests_at_once_per_worker": terms.slots,
        "drain_seconds": terms.drain,
        "minimum_workers": terms.minimum,
    }


def describe(fleet: Fleet) -> list[str]:
    """Why so many, one step of the reckoning after the other."""
    demand, terms, advice = fleet.demand, fleet.terms, fleet.advice
    said = [_WHY[advice.limit]]
    if advice.limit is not Limit.NOTHING_TO_DO:
        said.append(
            f"{demand.jobs:,} jobs are under way or due within {terms.drain:g} s: {_number(advice.wanted)} requests a"
            f" second would bring them through in that time; the rate limits allow {_number(demand.allowed)}."
        )
        said.append(
            f"A request takes {advice.latency:.2g} s, and one worker has {terms.slots} under way at once: about"
            f" {_number(terms.slots / advice.latency)} a second."
        )
    if advice.workers and advice.workers == terms.minimum:
        said.append(f"Not fewer than {terms.minimum}, as configured.")
    return said


_WHY = {
    Limit.NOTHING_TO_DO: "Nothing is due.",
    Limit.HOLD: "A hold or an open circuit stands: one worker finds out when it is over, more would stand still.",
    Limit.PACE_USED_UP: "A rate limit is used up for now: more workers would stand still.",
    Limit.PACE: "The rate limits bound it: more workers would stand still.",
    Limit.TENANTS: "Few tenants have jobs, and each may have only some under way at once: more would stand still.",
    Limit.BACKLOG: "The backlog bounds it: more workers would find too little to do.",
}


def _number(rate: float) -> str:
    return f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"
