"""Tell an API's fault from faults of many jobs: the same verdict for every job is no verdict on any of them. Pure.

A job's answer is evidence about that job only while the API works for others. So when many jobs of several tenants get
the same verdict (reason, error type, and message without the case's own values), and hardly any other verdict comes in
between, the fleet stops as in an outage.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from worker.policy import circuit_breaker

#: The least share of the same verdict among all verdicts since the first of a run.
SHARE = 0.9
#: Seconds to look back, and the most rows of each kind to read.
LOOK_BACK = 86_400.0
MOST_ROWS = 1000
#: Seconds before a run in which the same verdict counts as its beginning: good answers of requests that left before the
#: fault are recorded among its first deaths. A job that is taken back wrongly dies again, by its own fault.
ONSET = 10.0
#: A job withdrawn this often is no longer evidence against the API: it was probed while others went well.
MOST_WITHDRAWALS = 3
#: Seconds between two probes, at first and at most.
PROBE_EVERY = 15.0
PROBE_AT_LEAST_EVERY = 300.0
#: Seconds for which an accepted verdict counts as each job's own.
ACCEPTED_FOR = 86_400.0
#: Seconds after which the brake no longer takes a verdict back; alerts about client links wait for it.
SETTLES_AFTER = 30.0


@dataclass(frozen=True, slots=True)
class BrakePolicy:
    """How many jobs of how many tenants stop the fleet; 0 jobs: never."""

    jobs: int
    tenants: int


@dataclass(frozen=True, slots=True)
class Death:
    """One job that got the verdict in question."""

    seconds_ago: float
    tenant: str
    held: int = 0
    """Jobs of the tenant held because of it: they would have got the same verdict. Set on one of its deaths."""


def run_began(deaths: Sequence[Death], others: Sequence[float], policy: BrakePolicy) -> float | None:
    """Return how many seconds ago the run began that stops the fleet; None if the verdicts are the jobs' own.

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
    """Return the seconds until the next probe of a brake that has been on for that many seconds."""
    return circuit_breaker.probe_pause(open_for, every=PROBE_EVERY, at_most=PROBE_AT_LEAST_EVERY)
