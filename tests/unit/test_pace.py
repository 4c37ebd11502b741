"""The rate limits as numbers: what may be released now, and how long a backlog takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.policy.rate_limit import EVEN_SHARE, Pace, Window

DOCUMENTED = Pace.parse("2000/minute;20000/hour;100000/day")


def test_the_documented_limits_are_read_shortest_first() -> None:
    assert DOCUMENTED.windows == (Window(60, 2000), Window(3600, 20_000), Window(86_400, 100_000))
    assert DOCUMENTED.even == Window(60, 2000)
    assert DOCUMENTED.interval == pytest.approx(60 / 2000 / EVEN_SHARE)


def test_an_idle_fleet_may_release_a_burst_and_a_busy_one_only_its_even_share() -> None:
    idle = DOCUMENTED.allowed(ahead=-1e9, used={60: 0})
    busy = DOCUMENTED.allowed(ahead=0.0, used={60: 1900})

    assert 190 <= idle <= 220, "a tenth of the minute"
    assert 1 <= busy <= 10, "a quarter of a second"


def test_nothing_is_released_ahead_of_the_pace_or_beyond_any_window() -> None:
    assert DOCUMENTED.allowed(ahead=0.3, used={60: 1500}) == 0
    assert DOCUMENTED.allowed(ahead=-1, used={60: 10, 3600: 20_000}) == 0
    assert DOCUMENTED.allowed(ahead=-1, used={60: 10, 3600: 19_998}) == 2
    assert DOCUMENTED.allowed(ahead=-1, used={60: 10, 86_400: 100_001}) == 0


@pytest.mark.parametrize("notation", ["2000/minute", "10/second", "5/minute", "20000/hour", "7/day", "3/2 minutes"])
def test_released_as_fast_as_allowed_no_window_is_ever_exceeded(notation: str) -> None:
    """Given a backlog, when a dispatcher looks every 50 ms, then no moving window ever holds more than its limit."""
    pace = Pace.parse(notation)
    window = pace.windows[0]
    released: list[float] = []
    next_at = now = 0.0
    first = 0
    for _ in range(20_000):
        while first < len(released) and released[first] <= now - window.seconds:
            first += 1
        used = len(released) - first
        count = pace.allowed(ahead=next_at - now, used={window.seconds: used})
        next_at = max(next_at, now) + count * pace.interval
        released += [now] * count
        assert used + count <= window.amount
        now += 0.05
    if now > window.seconds >= 60:  # 50 ms are much of a second, so shorter windows get a little less
        assert len(released) >= 0.97 * window.amount * (now // window.seconds) - 1


@given(
    ahead=st.floats(-1e6, 1e6),
    minute=st.integers(0, 5000),
    hour=st.integers(0, 50_000),
    day=st.integers(0, 200_000),
)
def test_what_is_allowed_fits_into_every_window(ahead: float, minute: int, hour: int, day: int) -> None:
    used = {60: minute, 3600: hour, 86_400: day}
    allowed = DOCUMENTED.allowed(ahead=ahead, used=used)

    assert allowed >= 0
    assert allowed == 0 or all(used[w.seconds] + allowed <= w.amount for w in DOCUMENTED.windows)


def test_the_estimate_knows_of_the_longer_windows() -> None:
    assert DOCUMENTED.seconds_for(0, {}) == 0
    assert DOCUMENTED.seconds_for(1960, {}) == pytest.approx(60, rel=0.01)
    assert DOCUMENTED.seconds_for(40_000, {}) == pytest.approx(3600, rel=0.01)
    assert DOCUMENTED.seconds_for(10_000, {3600: 20_000}) == pytest.approx(1800, rel=0.01)
    assert DOCUMENTED.seconds_for(300_000, {}) == pytest.approx(2 * 86_400, rel=0.01)
