"""How many workers are useful now. Pure: facts in, a number and the reasons for it out.

A worker costs money whether or not it has anything to do, so the last one that is asked for must have work: no more are
useful than the API's limits let send, nor than the jobs and their tenants allow to be under way at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.ledger.queries.waiting import WindowUse
from worker.policy.rate_limit import Pace

#: Seconds that a request is taken to last before any was measured.
ASSUMED_LATENCY = 1.0
#: Jobs a second that one child process can do at most, however quick the API: its processor is busy then.
BUSIEST_CHILD = 300.0
#: What rounding may add to a number of workers that is whole by right.
ROUNDING = 1e-9


class Limit(StrEnum):
    """What the number of useful workers is bounded by."""

    NOTHING_TO_DO = "nothing_to_do"
    HOLD = "hold"
    """A hold, or an open circuit: one worker probes, and the others would stand still."""
    PACE_USED_UP = "pace_used_up"
    """A rate limit's window is used up for a good while."""
    PACE = "pace"
    """The rate limits are slower than the backlog calls for."""
    TENANTS = "tenants"
    """Few tenants have jobs, and each may have only so many under way at once."""
    BACKLOG = "backlog"
    """The backlog itself: so many workers are through it in time."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one worker can do, and what is wanted of the fleet."""

    slots: int
    """Requests that one worker has under way at once: children times threads."""
    children: int
    tenant_cap: int
    """Jobs of one tenant that may be under way at once."""
    minimum: int
    drain: float
    """Seconds in which a backlog should be through."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What there is to do now, and what is allowed."""

    pending: int
    due_soon: int
    """Jobs that wait, and are due before a backlog should be through."""
    under_way: int
    """Jobs that are queued or being submitted."""
    tenants: int
    """Tenants that have pending jobs, or more."""
    latency: float | None
    """Seconds that a request took lately, on average."""
    allowed: float
    """Requests a second that the rate limits allow for as long as `drain`."""
    held: bool
    """A hold is in force, or a circuit open."""

    @property
    def jobs(self) -> int:
        """All that there is to do soon."""
        return self.pending + self.due_soon + self.under_way


@dataclass(frozen=True, slots=True)
class Advice:
    """How many workers are useful, and why not more."""

    workers: int
    limit: Limit
    wanted: float
    """Requests a second that would bring the backlog through in time."""
    rate: float
    """Requests a second that will be sent."""
    latency: float
    """Seconds that a request was taken to last."""


def useful_workers(demand: Demand, terms: Terms) -> Advice:
    """How many workers have something to do."""
    jobs = demand.jobs
    latency = max(demand.latency or ASSUMED_LATENCY, terms.slots / terms.children / BUSIEST_CHILD)
    wanted = jobs / terms.drain
    if not jobs:
        return Advice(terms.minimum, Limit.NOTHING_TO_DO, 0.0, 0.0, latency)
    # Jobs need a dispatcher to wake them and take them back, and a probe needs somebody to send it.
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
    """How many requests a second may be sent over the next so many seconds."""
    return min([1 / pace.interval, *(_rate(room, seconds) for room in rooms)])


def _rate(room: WindowUse, seconds: float) -> float:
    """What is left may go at once; what leaves the window comes back at the window's own pace, on average."""
    if room.frees_in is not None and room.frees_in > seconds:
        return 0.0
    left = max(0, room.window.amount - room.used)
    return max(left / seconds, room.window.amount / room.window.seconds)
