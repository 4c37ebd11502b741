"""The filter as plain values, and its ages as points in time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SelectionChanged
from worker.ledger.queries import FailureFilter
from worker.ledger.queries.groups import BUCKETS, axis
from worker.report.preview import read_token

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
AGES = st.timedeltas(timedelta(seconds=1), timedelta(days=999))
AMOUNTS = st.decimals(-1_000_000, 1_000_000, places=4)

FILTERS = st.builds(
    FailureFilter,
    tenant=st.none() | st.text(min_size=1),
    reason=st.none() | st.just("validation"),
    invalid_links=st.booleans(),
    since=st.none() | AGES,
    older_than=st.none() | AGES,
    failed_from=st.none() | MOMENTS,
    failed_before=st.none() | MOMENTS,
    error_type=st.none() | st.text(min_size=1),
    http_status=st.none() | st.integers(100, 599),
    min_amount=st.none() | AMOUNTS,
    max_amount=st.none() | AMOUNTS,
    currency=st.none() | st.just("DKK"),
    reference=st.none() | st.text(min_size=1),
    text=st.none() | st.text(min_size=1),
    cause=st.none() | st.uuids(),
    jobs=st.lists(st.uuids(), max_size=3).map(tuple),
    letters=st.lists(st.integers(1, 2**62), max_size=3).map(tuple),
)


@given(FILTERS)
def test_a_filter_survives_being_stored_as_json(wanted: FailureFilter) -> None:
    assert FailureFilter.from_dict(json.loads(json.dumps(wanted.as_dict()))) == wanted


def test_only_what_narrows_is_written_down_beside_the_oldest_four_parts() -> None:
    assert FailureFilter(http_status=422, min_amount=Decimal("1.50")).as_dict() == {
        "tenant": None, "reason": None, "invalid_links": False, "since_seconds": None,
        "http_status": 422, "min_amount": "1.50",
    }  # fmt: skip


@pytest.mark.parametrize("values", [{"colour": "red"}, {"cause": "x"}, {"jobs": ["x"]}, {"min_amount": "x"}])
def test_what_is_no_filter_is_not_read(values: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, ArithmeticError)):
        FailureFilter.from_dict(values)


@given(FILTERS)
def test_a_fixed_filter_has_no_ages_and_is_no_wider(wanted: FailureFilter) -> None:
    fixed = wanted.fixed_at(NOW)

    assert (fixed.since, fixed.older_than) == (None, None)
    begins = [b for b in (wanted.failed_from, NOW - wanted.since if wanted.since else None) if b]
    ends = [e for e in (wanted.failed_before, NOW - wanted.older_than if wanted.older_than else None) if e]
    assert fixed.failed_from == (max(begins) if begins else None)
    assert fixed.failed_before == (min(ends) if ends else None)
    assert fixed.fixed_at(NOW + timedelta(days=7)) == fixed


@given(MOMENTS, AGES)
def test_the_bars_reach_from_the_oldest_failure_to_the_present(now: datetime, age: timedelta) -> None:
    start, width = axis(now - age, now)

    assert start + (BUCKETS - 1) * width <= now < start + BUCKETS * width
    assert start <= now - age or width == timedelta(days=30)


@given(MOMENTS, AGES, st.timedeltas(timedelta(0), timedelta(seconds=30)))
def test_the_bars_stand_still_between_two_looks_or_move_by_whole_bars(
    now: datetime, age: timedelta, later: timedelta
) -> None:
    oldest = now - age
    start, width = axis(oldest, now)
    again, same = axis(oldest, now + later)

    assert width != same or (again - start) % width == timedelta(0)


@pytest.mark.parametrize("token", ["", "x", "e30=", "bnVsbA==", "W10=", "eyJ2ZXJiIjoiZWF0In0="])
def test_a_token_that_nobody_made_confirms_nothing(token: str) -> None:
    with pytest.raises(SelectionChanged, match="open the preview again"):
        read_token(token)


def test_a_cause_is_stored_as_text() -> None:
    key = UUID(int=7)
    assert FailureFilter(cause=key).as_dict()["cause"] == str(key)
