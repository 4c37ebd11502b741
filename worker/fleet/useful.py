"""How many workers are useful now. Pure: facts in, a number and its reasons out.

An idle worker costs money, so every worker asked for must have work. The API's rate limits, and the jobs and tenants
that may be under way at once, bound the number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.ledger.queries.waiting import WindowUse
from worker.policy.rate_limit import Pace

#: The assumed duration of a request, in seconds, before any was measured.
ASSUMED_LATENCY = 1.0
#: The most jobs a second that one child process can handle, however fast the API is: it is then CPU-bound.
BUSIEST_CHILD = 300.0
#: Tolerance for floating-point error, so that an exact whole number of workers is not rounded up.
ROUNDING = 1e-9


class Limit(StrEnum):
    """What limits the number of useful workers."""

    NOTHING_TO_DO = "nothing_to_do"
    HOLD = "hold"
    """Sending is paused, or a circuit is open: one worker probes, and others would be idle."""
    PACE_USED_UP = "pace_used_up"
    """A rate limit's window is used up for longer than the drain time."""
    PACE = "pace"
    """The rate limits allow less than the backlog needs."""
    TENANTS = "tenants"
    """Few tenants have jobs, and each may have only so many under way at once."""
    BACKLOG = "backlog"
    """The backlog itself: this many workers finish it in time."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one worker can do, and what the fleet should achieve."""

    slots: int
    """Requests that one worker can have under way at once: child processes times threads."""
    children: int
    tenant_cap: int
    """How many jobs of one tenant may be under way at once."""
    minimum: int
    drain: float
    """Seconds in which a backlog should be finished."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The work to do now, and the rate allowed."""

    pending: int
    due_soon: int
    """Waiting jobs that become due within the drain time."""
    under_way: int
    """Jobs that are queued or being submitted."""
    tenants: int
    """Tenants that have pending jobs, or an upper bound."""
    latency: float | None
    """The average duration of recent requests, in seconds."""
    allowed: float
    """Requests a second that the rate limits allow over the drain time."""
    held: bool
    """A pause is in force, or a circuit is open."""

    @property
    def jobs(self) -> int:
        """All jobs to handle soon."""
        return self.pending + self.due_soon + self.under_way


@dataclass(frozen=True, slots=True)
class Advice:
    """How many workers are useful, and what limits them."""

    workers: int
    limit: Limit
    wanted: float
    """Requests a second needed to finish the backlog in time."""
    rate: float
    """Requests a second that can be sent."""
    latency: float
    """The request duration used for this calculation, in seconds."""


def useful_workers(demand: Demand, terms: Terms) -> Advice:
    """Calculate how many workers have work."""
    jobs = demand.jobs
    latency = max(demand.latency or ASSUMED_LATENCY, terms.slots / terms.children / BUSIEST_CHILD)
    wanted = jobs / terms.drain
    if not jobs:
        return Advice(terms.minimum, Limit.NOTHING_TO_DO, 0.0, 0.0, latency)
    # At least one worker is needed: its dispatcher releases and reclaims jobs, and it sends the probe.
    one = max(1, terms.minimum)
    if demand.held:
        return Advice(one, Limit.HOLD, wanted, 0.0, latency)
    if demand.allowed <= 0:
        return Advice(one, Limit.PACE_USED_UP, wanted, 0.0, latency)
    rate, limit = min((wanted, Limit.BACKLOG), (demand.allowed, Limit.PACE), key=lambda bound: bound[0])
    at_once = min(jobs, demand.under_way + demand.due_soon + demand.tenants * terms.tenant_cap)
    busy = rate * latency
    if at_once < busy:
        busy, rate, limit = at_once, at_once / latency, Limit.TENANTS if at_once < jobs else Limit.BACKLOG
    return Advice(max(one, math.ceil(busy / terms.slots - ROUNDING)), limit, wanted, rate, latency)


def allowed_rate(pace: Pace, rooms: Sequence[WindowUse], seconds: float) -> float:
    """How many requests a second may be sent over the next `seconds`."""
    return min([1 / pace.interval, *(_rate(room, seconds) for room in rooms)])


def _rate(room: WindowUse, seconds: float) -> float:
    """Unused requests may be sent at once; used ones free up at the window's average rate."""
    if room.frees_in is not None and room.frees_in > seconds:
        return 0.0
    left = max(0, room.window.amount - room.used)
    return max(left / seconds, room.window.amount / room.window.seconds)
