"""Rate limits (developer-concepts/rate-limiting)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sandbox_clock import Clock
from tests.support.sandbox_partner import Partner
from worker.sandbox.rates import RateLimits


def admitted(limits: RateLimits, clock: Clock, requests: int) -> int:
    return sum(limits.admit(clock.now) == 0 for _ in range(requests))


def test_given_a_full_minute_when_asking_then_429_tells_the_seconds_in_the_body_only(
    partner: Partner, clock: Clock
) -> None:
    partner.control("settings", rateLimits="2/minute")
    clock.forward(3)
    assert [partner.get("/me").status_code for _ in range(2)] == [200, 200]

    refused = partner.post(partner.case(), tenant="other")

    assert refused.status_code == 429
    body = refused.json()
    assert (body["error"], body["retryAfter"]) == ("rate_limit_exceeded", 57.0)
    assert "Retry-After" not in refused.headers
    clock.forward(57)
    assert partner.post(partner.case(), tenant="other").status_code == 200


def test_given_a_request_without_a_valid_token_when_limits_are_set_then_it_is_not_counted(
    partner: Partner,
) -> None:
    partner.control("settings", rateLimits="1/minute")

    assert [partner.post(partner.case(), tenant="invalid-1").status_code for _ in range(3)] == [401] * 3
    assert partner.mint().status_code == partner.client("acme").status_code == 200
    assert partner.get("/me").status_code == 200


def test_given_requests_spread_over_a_minute_when_it_slides_then_room_comes_back_by_segments(
    clock: Clock,
) -> None:
    limits = RateLimits("60/minute")
    for _ in range(6):
        assert admitted(limits, clock, 10) == 10
        clock.forward(10)

    assert admitted(limits, clock, 100) == 10
    clock.forward(9.9)
    assert admitted(limits, clock, 100) == 0
    clock.forward(0.1)
    assert admitted(limits, clock, 100) == 10


def test_given_refused_requests_when_the_window_moves_on_then_they_have_not_counted(clock: Clock) -> None:
    limits = RateLimits("5/minute")
    assert admitted(limits, clock, 5) == 5
    clock.forward(50)
    assert admitted(limits, clock, 1000) == 0
    clock.forward(10)

    assert admitted(limits, clock, 5) == 5


def test_given_a_full_hour_when_the_next_one_strikes_then_there_is_room(clock: Clock) -> None:
    limits = RateLimits("3/hour")
    clock.forward(3000)
    assert admitted(limits, clock, 9) == 3

    assert limits.wait(clock.now) == 600
    clock.forward(600)
    assert admitted(limits, clock, 9) == 3


def test_given_a_full_day_when_24_hours_from_the_first_request_are_over_then_there_is_room(clock: Clock) -> None:
    limits = RateLimits("3/day")
    clock.forward(40_000)
    assert admitted(limits, clock, 1) == 1
    clock.forward(80_000)
    assert admitted(limits, clock, 9) == 2

    assert limits.wait(clock.now) == 6_400
    clock.forward(6_400)
    assert admitted(limits, clock, 9) == 3


def test_given_several_limits_when_one_is_full_then_the_others_do_not_count_the_refused(clock: Clock) -> None:
    limits = RateLimits("2/minute; 5/hour")

    assert admitted(limits, clock, 50) == 2
    clock.forward(60)
    assert admitted(limits, clock, 50) == 2
    clock.forward(60)
    assert admitted(limits, clock, 50) == 1
    assert limits.wait(clock.now) == 3480


@given(st.lists(st.floats(0, 30), min_size=1, max_size=200), st.integers(1, 10))
def test_given_any_arrivals_when_limited_then_no_six_segments_hold_more_than_the_limit(
    pauses: list[float], limit: int
) -> None:
    limits = RateLimits(f"{limit}/minute")
    now, segments = 1_800_000_000.0, []
    for pause in pauses:
        now += pause
        wait = limits.admit(now)
        assert 0 <= wait <= 60
        if wait == 0:
            segments.append(int(now // 10))

    assert all(sum(last - 5 <= segment <= last for segment in segments) <= limit for last in segments)


@pytest.mark.parametrize("notation", ["2000", "2000/second", "x/minute", "2000 per minute", "-1/hour"])
def test_given_an_unknown_notation_when_read_then_it_is_refused(notation: str) -> None:
    with pytest.raises(ValueError, match="2000/minute;20000/hour"):
        RateLimits(notation)
