"""When the same verdict stops the fleet: enough jobs of enough tenants, and hardly anything else in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.policy.brake import MOST_ROWS, PROBE_AT_LEAST_EVERY, PROBE_EVERY, BrakePolicy, Death, probe_pause, run_began

POLICY = BrakePolicy(jobs=20, tenants=5)


def deaths(count: int, tenants: int, every: float = 0.1) -> list[Death]:
    return [Death(n * every, f"t{n % tenants}") for n in range(count)]


def test_twenty_jobs_of_five_tenants_stop_it() -> None:
    assert run_began(deaths(20, 5), [], POLICY) == pytest.approx(1.9)


@pytest.mark.parametrize(("count", "tenants"), [(19, 5), (100, 4), (0, 1)])
def test_fewer_jobs_or_tenants_do_not(count: int, tenants: int) -> None:
    assert run_began(deaths(count, tenants), [], POLICY) is None


@pytest.mark.parametrize(("others", "stops"), [(2, True), (3, False)])
def test_nine_of_ten_verdicts_must_be_the_same(others: int, stops: bool) -> None:
    assert (run_began(deaths(20, 5), [0.5] * others, POLICY) is not None) is stops


def test_what_went_well_before_the_run_does_not_count() -> None:
    assert run_began(deaths(20, 5), [2.0] * 100, POLICY) == pytest.approx(1.9)


def test_the_run_reaches_back_as_far_as_hardly_anything_else_came_in_between() -> None:
    assert run_began(deaths(200, 5), [15.0] * 100, POLICY) == pytest.approx(15.0, abs=1.3)


def test_zero_jobs_switch_it_off() -> None:
    assert run_began(deaths(100, 10), [], BrakePolicy(jobs=0, tenants=5)) is None


def test_nothing_is_concluded_from_a_time_whose_other_verdicts_were_not_read() -> None:
    assert run_began(deaths(100, 10, every=1.0), [0.0] * MOST_ROWS, POLICY) is None


def test_jobs_that_are_held_for_a_tenant_would_have_met_the_same_verdict() -> None:
    few = [Death(float(n), f"t{n}", held=4) for n in range(5)]

    assert run_began(few, [], POLICY) is not None
    assert run_began(few[:4], [], POLICY) is None


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 9)), max_size=60),
    st.lists(st.floats(0, 100), max_size=60),
)
def test_a_run_always_meets_the_thresholds(met: list[tuple[float, int]], others: list[float]) -> None:
    ordered = [Death(ago, str(tenant)) for ago, tenant in sorted(met)]

    began = run_began(ordered, sorted(others), POLICY)

    if began is not None:
        run = [death for death in ordered if death.seconds_ago <= began]
        beside = sum(other <= began for other in others)
        assert len(run) >= POLICY.jobs
        assert len({death.tenant for death in run}) >= POLICY.tenants
        assert len(run) >= 0.9 * (len(run) + beside) - 1e-9


def test_probes_become_rarer() -> None:
    pauses = [probe_pause(seconds) for seconds in (0, 60, 300, 3000, 10**6)]

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (PROBE_EVERY, PROBE_AT_LEAST_EVERY)
