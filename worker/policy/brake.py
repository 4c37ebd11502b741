"""Tell a fault of the API's from faults of many jobs: the same verdict for everybody is no verdict on anybody. Pure.

A job's answer is evidence about that job only while the API works for others. So when the same verdict (reason, error
type, and message without the case's own values) meets many jobs of several tenants, and hardly anything else comes in
between, the fleet stops like in an outage.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from worker.policy.circuit_breaker import PROBE_OFTEN_FOR

#: Of all verdicts since the first of a run, at least this share must be the same one.
SHARE = 0.9
#: Seconds that are looked back on, and rows of each kind that are read at most.
LOOK_BACK = 3600.0
MOST_ROWS = 1000
#: Seconds before a run in which the same verdict counts as its beginning: good answers of requests that left before the
#: fault are recorded among its first deaths. A job that is taken back for nothing dies again, of its own.
ONSET = 10.0
#: A job that was withdrawn this often no longer speaks against the API: it was probed beside others that went well.
MOST_WITHDRAWALS = 3
#: Seconds between two probes, at first and at most.
PROBE_EVERY = 15.0
PROBE_AT_LEAST_EVERY = 300.0
#: Seconds for which an accepted verdict counts as each job's own.
ACCEPTED_FOR = 86_400.0
#: Seconds after which nobody expects the brake to take a verdict back; alerts about client links wait for it.
SETTLES_AFTER = 30.0


@dataclass(frozen=True, slots=True)
class BrakePolicy:
    """How many jobs of how many tenants stop the fleet; 0 jobs: never."""

    jobs: int
    tenants: int


@dataclass(frozen=True, slots=True)
class Death:
    """One job that met the verdict in question."""

    seconds_ago: float
    tenant: str
    held: int = 0
    """Jobs of the tenant that are held for it: they would have met the same verdict. Given with one of its deaths."""


def run_began(deaths: Sequence[Death], others: Sequence[float], policy: BrakePolicy) -> float | None:
    """How many seconds ago the run began that stops the fleet; None if the verdicts are the jobs' own.

    `deaths` are those of one verdict, `others` the ages in seconds of all other verdicts (submitted cases, other
    refusals), both youngest first and at most MOST_ROWS of each.
    """
    if not policy.jobs:
        return None
    known_for = others[-1] if len(others) >= MOST_ROWS else float("inf")
    tenants: set[str] = set()
    began, held = None, 0
    for number, death in enumerate(deaths, start=1):
        if death.seconds_ago > known_for:
            break
        tenants.add(death.tenant)
        held += death.held
        if number + held < policy.jobs or len(tenants) < policy.tenants:
            continue
        if number >= SHARE * (number + bisect_right(others, death.seconds_ago)):
            began = death.seconds_ago
    return began


def probe_pause(open_for: float) -> float:
    """Seconds until the next probe of a brake that has been on for that many seconds."""
    return min(PROBE_AT_LEAST_EVERY, PROBE_EVERY * max(1.0, open_for / PROBE_OFTEN_FOR))
