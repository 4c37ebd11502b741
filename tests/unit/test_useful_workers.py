"""The number of useful workers, and the rules that it always keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from worker.fleet.useful import ASSUMED_LATENCY, BUSIEST_CHILD, Demand, Limit, Terms, allowed_rate, useful_workers
from worker.ledger.queries.waiting import WindowUse
from worker.policy.rate_limit import Pace, Window

TERMS = Terms(slots=32, children=2, tenant_cap=4, minimum=0, drain=60)
BUSY = Demand(
    pending=10_000, due_soon=0, under_way=0, tenants=500, latency=0.5, allowed=1000, held=False,
)  # fmt: skip

counts = st.integers(0, 50_000)
terms_of = st.builds(
    lambda children, threads, cap, minimum, drain: Terms(children * threads, children, cap, minimum, drain),
    st.integers(1, 16), st.integers(1, 64), st.integers(1, 50), st.integers(0, 5), st.floats(1, 600),
)  # fmt: skip
demands = st.builds(
    Demand, pending=counts, due_soon=counts, under_way=counts, tenants=st.integers(0, 500),
    latency=st.none() | st.floats(0.001, 60), allowed=st.floats(0, 5000), held=st.booleans(),
)  # fmt: skip
working = demands.filter(lambda d: d.pending + d.due_soon + d.under_way > 0 and not d.held and d.allowed > 0)


@pytest.mark.parametrize(
    ("change", "workers", "limit"),
    [
        ({}, 3, Limit.BACKLOG),  # 167 a second, each 0.5 s: 84 under way at once, 32 in a worker
        ({"pending": 0}, 0, Limit.NOTHING_TO_DO),
        ({"pending": 0, "due_soon": 1}, 1, Limit.BACKLOG),  # nobody else would wake it
        ({"pending": 0, "under_way": 1}, 1, Limit.BACKLOG),  # nobody else would take it back
        ({"allowed": 33}, 1, Limit.PACE),
        ({"allowed": 100}, 2, Limit.PACE),
        ({"allowed": 0}, 1, Limit.PACE_USED_UP),
        ({"held": True}, 1, Limit.HOLD),
        ({"tenants": 1}, 1, Limit.TENANTS),
        ({"latency": 5}, 27, Limit.BACKLOG),
        ({"latency": None}, math.ceil(10_000 / 60 * ASSUMED_LATENCY / 32), Limit.BACKLOG),
    ],
)
def test_the_useful_workers_and_their_limit_are_as_documented(
    change: dict[str, float], workers: int, limit: Limit
) -> None:
    advice = useful_workers(replace(BUSY, **change), TERMS)
    assert (advice.workers, advice.limit) == (workers, limit)


@given(demands, terms_of)
def test_never_fewer_than_the_minimum_and_never_none_while_there_is_work(demand: Demand, terms: Terms) -> None:
    jobs = demand.pending + demand.due_soon + demand.under_way
    workers = useful_workers(demand, terms).workers
    assert workers >= terms.minimum
    assert (workers >= 1) if jobs else (workers == terms.minimum)


# How often more than the minimum is useful depends on the draw; that says nothing of the rule.
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(working, terms_of)
def test_the_last_worker_is_not_paid_for_standing_still(demand: Demand, terms: Terms) -> None:
    """With one fewer, less would be sent than is allowed, wanted, and possible at once."""
    advice = useful_workers(demand, terms)
    assume(advice.workers > max(1, terms.minimum))
    jobs = demand.pending + demand.due_soon + demand.under_way
    fewer = (advice.workers - 1) * terms.slots
    assert fewer / advice.latency < demand.allowed
    assert fewer / advice.latency < jobs / terms.drain
    assert fewer < jobs
    assert fewer < demand.under_way + demand.due_soon + demand.tenants * terms.tenant_cap


@given(working, terms_of)
def test_the_useful_workers_can_send_everything_that_is_expected(demand: Demand, terms: Terms) -> None:
    """Every request that is expected finds a free thread."""
    advice = useful_workers(demand, terms)
    assert advice.workers * terms.slots >= advice.rate * advice.latency * (1 - 1e-6)
    assert advice.rate <= min(demand.allowed, advice.wanted) * (1 + 1e-9)


@given(demands, terms_of)
def test_a_hold_leaves_what_probing_needs(demand: Demand, terms: Terms) -> None:
    assert useful_workers(replace(demand, held=True), terms).workers <= max(1, terms.minimum)


@given(working, terms_of, st.integers(0, 10_000))
def test_more_jobs_never_make_fewer_workers_useful(demand: Demand, terms: Terms, more: int) -> None:
    before = useful_workers(demand, terms).workers
    assert useful_workers(replace(demand, pending=demand.pending + more), terms).workers >= before


@given(working, terms_of, st.floats(1, 10))
def test_a_wider_pace_never_makes_fewer_workers_useful(demand: Demand, terms: Terms, factor: float) -> None:
    before = useful_workers(demand, terms).workers
    assert useful_workers(replace(demand, allowed=demand.allowed * factor), terms).workers >= before


@given(working, terms_of, st.integers(1, 100))
def test_more_threads_never_make_more_workers_useful(demand: Demand, terms: Terms, more: int) -> None:
    """Unless they are more than the processors can keep busy, which bounds a worker whatever its threads."""
    wider = replace(terms, slots=terms.slots + more * terms.children)
    assume((demand.latency or ASSUMED_LATENCY) >= wider.slots / wider.children / BUSIEST_CHILD)
    assert useful_workers(demand, wider).workers <= useful_workers(demand, terms).workers


@given(working, terms_of)
def test_however_quick_the_api_a_child_can_only_do_so_much(demand: Demand, terms: Terms) -> None:
    advice = useful_workers(replace(demand, latency=1e-6), terms)
    assert advice.rate <= advice.workers * terms.children * BUSIEST_CHILD * (1 + 1e-6)


PACE = Pace.parse("2000/minute;20000/hour")
MINUTE, HOUR = PACE.windows


def rooms(minute: int, hour: int, frees_in: float | None = None) -> list[WindowUse]:
    return [WindowUse(MINUTE, minute, None), WindowUse(HOUR, hour, frees_in)]


def test_an_unused_limit_allows_its_even_pace() -> None:
    assert allowed_rate(PACE, rooms(0, 0), 60) == pytest.approx(1 / PACE.interval)


def test_what_is_left_of_a_long_window_may_go_at_once_and_no_more() -> None:
    assert allowed_rate(PACE, rooms(0, 19_400), 60) == pytest.approx(10)
    assert allowed_rate(PACE, rooms(0, 19_999), 60) == pytest.approx(20_000 / 3600)


def test_a_window_that_stays_full_allows_nothing_and_one_that_frees_soon_its_own_pace() -> None:
    assert allowed_rate(PACE, rooms(0, 20_000, frees_in=600), 60) == 0
    assert allowed_rate(PACE, rooms(0, 20_000, frees_in=5), 60) == pytest.approx(20_000 / 3600)


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.floats(1, 600))
def test_never_more_than_a_window_holds(amount: int, used: int, seconds: float) -> None:
    pace = Pace((Window(60, amount),))
    full = 1.0 if used >= amount else None
    rate = allowed_rate(pace, [WindowUse(pace.windows[0], used, full)], seconds)
    assert 0 <= rate <= 1 / pace.interval
