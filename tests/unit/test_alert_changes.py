"""What one check reports: each new condition once, its end, many as one summary, within the budget."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.alerts.changes import (
    MOST,
    QUIET,
    REFRESH,
    SINGLY,
    Batch,
    Holding,
    batches,
    changes,
    to_be_checked,
    waits_too_long,
)
from worker.ledger.alert_models import BEGINNINGS, AlertKind
from worker.ledger.queries.alerts import Known

GROUP, LINK, CIRCUIT = AlertKind.NEW_FAILURE_GROUP, AlertKind.INVALID_LINK, AlertKind.CIRCUIT_OPENED
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def holding(key: str, kind: AlertKind = GROUP, episode: str = "1") -> Holding:
    return Holding(key, kind, episode)


def known(*keys: str, kind: AlertKind = GROUP, seen: float = 1.0) -> dict[str, Known]:
    return {key: Known(key, kind, {}, NOW, seen, seen) for key in keys}


def told_keys(found: tuple[Batch, ...]) -> list[list[str]]:
    return [[member.key for member in batch.members] for batch in found]


def test_what_is_new_is_told_and_what_is_known_is_not() -> None:
    found = changes(known("a"), [holding("a"), holding("b")], {})

    assert told_keys(found.begun) == [["b"]]
    assert (found.ended, found.forgotten) == ((), ())


def test_a_few_are_told_one_by_one_and_more_as_one_sum() -> None:
    few = [holding(str(n)) for n in range(SINGLY)]

    assert told_keys(changes({}, few, {}).begun) == [["0"], ["1"], ["2"]]
    (one,) = changes({}, [holding(str(n)) for n in range(1000)], {}).begun
    assert len(one.members) == 1000


def test_what_comes_beyond_the_budget_waits_and_is_then_summed_up() -> None:
    new = [holding(str(n)) for n in range(40)]

    assert changes({}, new, {GROUP: MOST}).begun == ()
    assert [len(batch.members) for batch in changes({}, new, {GROUP: MOST - 1}).begun] == [40]


def test_one_kind_s_flood_keeps_no_other_waiting() -> None:
    found = changes({}, [holding("g"), holding("l", LINK)], {GROUP: MOST})

    assert told_keys(found.begun) == [["l"]]


def test_what_stops_the_fleet_is_never_summed_up() -> None:
    both = [holding("customer", CIRCUIT), holding("referral", CIRCUIT)]

    assert told_keys(changes({}, both, {}).begun) == [["customer"], ["referral"]]
    assert told_keys(changes({}, both, {CIRCUIT: MOST - 1}).begun) == [["customer"]], "the other one waits"
    assert told_keys(changes({}, both, {CIRCUIT: MOST}).begun) == []


@given(new=st.integers(0, 50), told=st.integers(0, 20))
def test_no_kind_is_told_more_often_than_allowed_and_everything_told_is_told_once(new: int, told: int) -> None:
    made = batches([holding(str(n)) for n in range(new)], told)

    keys = [member.key for batch in made for member in batch.members]
    assert len(made) <= max(MOST - told, 0)
    assert all(batch.members for batch in made)
    assert keys in ([], [str(n) for n in range(new)]), "all or, for lack of room, none"
    assert bool(keys) == (new > 0 and told < MOST)


@pytest.mark.parametrize("kind", [CIRCUIT, AlertKind.PARTNER_KEY_REFUSED, AlertKind.OLDEST_PENDING_OVER])
def test_the_end_of_what_stops_the_fleet_is_told_at_once(kind: AlertKind) -> None:
    found = changes(known("x", kind=kind), [], {})

    assert [condition.key for condition in found.ended] == ["x"]
    assert found.forgotten == ()


@pytest.mark.parametrize("kind", [GROUP, LINK])
def test_a_failure_that_is_gone_for_a_moment_is_no_news_when_it_comes_back(kind: AlertKind) -> None:
    assert changes(known("x", kind=kind, seen=QUIET - 1), [], {}).forgotten == ()

    found = changes(known("x", kind=kind, seen=QUIET + 1), [], {})
    assert (found.forgotten, found.ended) == (("x",), ())


def test_what_still_holds_is_written_down_now_and_then_only() -> None:
    assert changes(known("x", seen=REFRESH - 1), [holding("x")], {}).refreshed == ()
    assert changes(known("x", seen=REFRESH + 1), [holding("x")], {}).refreshed == ("x",)


def test_the_same_event_has_the_same_key_and_its_return_another() -> None:
    both = Batch((holding("a"), holding("b")))

    assert both.dedup_key == Batch((holding("b"), holding("a"))).dedup_key
    assert both.dedup_key != Batch((holding("a", episode="2"), holding("b"))).dedup_key
    assert both.dedup_key != Batch((holding("a"),)).dedup_key


@given(st.sets(st.sampled_from("abcde")), st.sets(st.sampled_from("abcde")), st.sampled_from(BEGINNINGS))
def test_nothing_is_both_told_and_ended(before: set[str], now: set[str], kind: AlertKind) -> None:
    found = changes(known(*before, kind=kind, seen=QUIET * 2), [holding(key, kind) for key in sorted(now)], {})

    begun = {member.key for batch in found.begun for member in batch.members}
    over = {condition.key for condition in found.ended} | set(found.forgotten)
    assert begun == now - before
    assert over == before - now


def test_the_oldest_job_has_to_be_well_below_the_limit_to_have_recovered() -> None:
    assert not waits_too_long(None, 900, told=True)
    assert not waits_too_long(900, 900, told=False)
    assert waits_too_long(901, 900, told=False)
    assert waits_too_long(800, 900, told=True)
    assert not waits_too_long(700, 900, told=True)


def test_links_are_asked_about_now_and_then_and_only_those_that_nothing_new_is_known_of() -> None:
    links = known("old", kind=LINK, seen=REFRESH + 1) | known("fresh", kind=LINK, seen=1) | known("seen", kind=LINK)
    links |= known("failed again", kind=LINK, seen=REFRESH + 1) | known("group", seen=REFRESH + 1)

    assert [condition.key for condition in to_be_checked(links, {"failed again"})] == ["old"]
