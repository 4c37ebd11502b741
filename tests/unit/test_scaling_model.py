"""A day of load against a model of the fleet: workers that take their time to start, an API that takes its time to
answer, limits that bind. The autoscaler follows the signal; the backlog's age stays bounded, and few workers stand
still.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from autoscaling.follow import Follower

from worker.fleet.useful import Demand, Terms, useful_workers

#: Seconds of one step, and between a worker's start and its first job.
STEP, STARTS_IN = 5, 45
TERMS = Terms(slots=32, children=2, tenant_cap=4, minimum=0, drain=60)
MOST = 40
HOUR = 3600


@dataclass
class Day:
    """What happened."""

    oldest: list[float] = field(default_factory=list)
    """The backlog's age at each step, in seconds."""
    workers: list[int] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    """Requests a second at each step."""
    left: float = 0.0

    @property
    def worker_seconds(self) -> float:
        return sum(self.workers) * STEP


def live_through(
    arrivals: Callable[[int], float], *, latency: Callable[[int], float], allowed: float, until: int = 24 * HOUR
) -> Day:
    """One day; `arrivals` are jobs a second, `latency` is in seconds, both by the second of the day."""
    day, follower = Day(), Follower(fewest=0, most=MOST, patience=120)
    queue: deque[tuple[int, float]] = deque()  # when they came, how many
    starting: deque[int] = deque()
    running = 0
    for now in range(0, until, STEP):
        if coming := arrivals(now) * STEP:
            queue.append((now, coming))
        backlog = sum(jobs for _, jobs in queue)
        demand = Demand(
            pending=math.ceil(backlog), due_soon=0, under_way=0, tenants=500, latency=latency(now), allowed=allowed,
            held=False,
        )  # fmt: skip
        wanted = follower.decide(useful_workers(demand, TERMS).workers, now=now)
        while starting and starting[0] <= now:
            starting.popleft()
            running += 1
        starting.extend([now + STARTS_IN] * (wanted - running - len(starting)))
        while starting and running + len(starting) > wanted:
            starting.pop()
        running = min(running, wanted)
        rate = min(running * TERMS.slots / latency(now), allowed)
        sent = _send(queue, rate * STEP)
        day.sent.append(sent / STEP)
        day.workers.append(running + len(starting))
        day.oldest.append(now + STEP - queue[0][0] if queue else 0.0)
    day.left = sum(jobs for _, jobs in queue)
    return day


def _send(queue: deque[tuple[int, float]], room: float) -> float:
    sent = 0.0
    while queue and room > 1e-9:
        came, jobs = queue.popleft()
        step = min(jobs, room)
        sent, room = sent + step, room - step
        if jobs - step > 1e-9:
            queue.appendleft((came, jobs - step))
    return sent


def office_hours(now: int) -> float:
    """Nothing at night, a morning peak, and a burst at noon."""
    hour = now / HOUR
    burst = 200.0 if 12 <= hour < 12.05 else 0.0
    return (20 * math.sin((hour - 8) / 10 * math.pi) if 8 <= hour < 18 else 0.0) + burst


@pytest.mark.parametrize("latency", [0.2, 1.0, 4.0])
def test_with_room_in_the_limits_the_age_of_the_backlog_stays_bounded(latency: float) -> None:
    day = live_through(office_hours, latency=lambda _now: latency, allowed=500)
    assert max(day.oldest) <= STARTS_IN + 2 * TERMS.drain
    assert day.left == 0
    assert day.workers[0] == day.workers[-1] == 0, "nobody is paid for the night"
    assert max(day.workers) < MOST


def test_an_api_that_turns_slow_brings_more_workers_in_time() -> None:
    day = live_through(
        lambda now: 20.0 if now < 2 * HOUR else 0.0, latency=lambda now: 10.0 if now >= HOUR else 0.3, allowed=500,
        until=3 * HOUR,
    )  # fmt: skip
    assert day.workers[HOUR // STEP - 1] == 1
    assert max(day.workers) >= 20 * 10 / 32
    assert max(day.oldest) <= 2 * (STARTS_IN + 2 * TERMS.drain)
    assert day.left == 0


def test_where_the_limits_bind_no_more_workers_are_paid_for_than_they_keep_busy() -> None:
    """100,000 jobs at once, and 33 a second allowed."""
    day = live_through(lambda now: 20_000.0 if now < 5 else 0.0, latency=lambda _now: 0.5, allowed=33)
    assert max(day.workers) == 1
    assert day.left == 0
    assert max(day.oldest) <= 100_000 / 33 + STARTS_IN + 2 * TERMS.drain, "as soon as the limits allow"


@pytest.mark.parametrize("latency", [0.2, 1.0, 4.0])
def test_few_worker_hours_are_wasted(latency: float) -> None:
    day = live_through(office_hours, latency=lambda _now: latency, allowed=500)
    needed = sum(day.sent) * STEP * latency / TERMS.slots
    bursts = 2 * max(day.workers) * (STARTS_IN + TERMS.drain + 120)
    assert day.worker_seconds <= 2 * needed + 10 * HOUR + bursts
