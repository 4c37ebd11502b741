"""Filters in URLs: they read back as written, and unreadable parts are reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ledger.queries import FailureFilter
from worker.ledger.states import Reason
from worker.report.web.addresses import query_for, read_filter, read_query, ticked

WORDS = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() == text
)
AGES = st.integers(1, 100_000).map(lambda minutes: timedelta(minutes=minutes))
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone
FILTERS = st.builds(
    FailureFilter,
    tenant=st.none() | WORDS, reason=st.none() | st.sampled_from([r.value for r in Reason]),
    invalid_links=st.booleans(), since=st.none() | AGES, older_than=st.none() | AGES,
    failed_from=st.none() | MOMENTS, failed_before=st.none() | MOMENTS, error_type=st.none() | WORDS,
    http_status=st.none() | st.integers(100, 599),
    min_amount=st.none() | st.decimals(-10**9, 10**9, places=2), max_amount=st.none() | st.decimals(0, 10**9, places=4),
    currency=st.none() | st.sampled_from(["EUR", "JPY"]), reference=st.none() | WORDS, text=st.none() | WORDS,
    cause=st.none() | st.uuids(), jobs=st.lists(st.uuids(), max_size=3).map(tuple),
    letters=st.lists(st.integers(1, 2**63 - 1), max_size=3).map(tuple),
)  # fmt: skip


@given(FILTERS)
def test_a_filter_survives_its_address(wanted: FailureFilter) -> None:
    found = read_query(query_for(wanted))

    assert found.problems == {}
    assert found.filter == wanted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("reason", "bad_luck"), ("status", "abc"), ("status", "99"), ("status", "²³"), ("min", "ten"),
        ("min", "1250,50"), ("max", "NaN"),
        ("max", "1e999999999"), ("currency", "EURO"), ("within", "7"), ("older", "0d"), ("cause", "x"), ("ids", "1.x"),
        ("ids", "9" * 30), ("from", "yesterday"), ("from", "2026-01-01T00:00:00"), ("text", "a\x00b"),
        ("tenant", "\ud800"), ("within", "999999w"), ("jobs", "1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_and_selects_nothing_by_itself(name: str, text: str) -> None:
    found = read_filter({name: text, "tenant" if name != "tenant" else "type": "acme"})

    assert list(found.problems) == [name]
    assert found.filter == FailureFilter(), "and the page lists nothing as long as there are problems"


def test_empty_parts_mean_any() -> None:
    assert read_filter({"tenant": "  ", "reason": "", "unknown": "1"}).typed == {}


def test_amounts_may_be_typed_with_separators() -> None:
    assert read_filter({"min": "18,750.50", "max": "1 000 000"}).filter == FailureFilter(
        min_amount=Decimal("18750.50"), max_amount=Decimal(1000000)
    )


def test_ticks_count_once() -> None:
    assert ticked(["3", "1", "3"]) == (3, 1)
    with pytest.raises(ValueError, match="numbers"):
        ticked(["all"])
