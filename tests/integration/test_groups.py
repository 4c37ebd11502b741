"""Failures grouped by cause, the tiles above them, tenants with invalid links, and counts that need no full scan."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import uuid4

import pytest

from tests.support.databases import Database
from tests.support.rows import ago, insert_dead_job, insert_job, insert_unreadable_message, set_hold
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter
from worker.ledger.queries.groups import BUCKETS
from worker.ledger.writer.days import close_days
from worker.ledger.writer.holds import HoldName

SAME = [
    ("Case 4711 was refused", "Case 12 was refused"),
    ("Reference 'INV-1' is taken", "Reference 'A, B' is taken"),
    ('Field "a" is odd', 'Field "b c" is odd'),
    ("No such id 0190c0f2-7d6e-7cc3-98c4-dc0c0c07398f here", "No such id c0ffee00-0000-4000-8000-00000000000a here"),
    ("Reference \u201cA\u201d is taken", "Reference \u201cB C\u201d is taken"),
    ("Mail to a.b@x.example failed", "Mail to someone@else.example failed"),
    ("Over 1,250.50 DKK", "Over 99 DKK"),
    ("Due 2024-01-31, 12:30:05 at the latest", "Due 2025-12-01 at the latest"),
    ("Wrong\n  spaces 1", "Wrong spaces 2"),
    ("See https://x.example/cases/17/a", "See https://y.example/cases/4/b"),
    ("Reference INV-2026-001 is taken", "Reference A-7 is taken"),
    ("Trace a4bf92f3577b34da6 failed", "Trace customer/42 failed"),
    ("claims[0].amount: Invalid", "claims[17].amount: Invalid"),
    ("x" * 600 + " first", "x" * 600 + " second"),
]
DIFFERENT = [
    ("debtor.email: Invalid", "debtor.zipCode: Invalid"),
    ("The client's data is wrong", "The client's name is wrong"),
    ("Too short", "Too long"),
    ("debtor.stateAlpha2: Invalid", "debtor.countryAlpha2: Invalid"),
    ("line2 is missing.", "line1 is missing."),
    ("Give amountOver12Months.", "Give amountOver24Months."),
    ("", "Something"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_messages_that_differ_only_in_their_values_are_one_cause(ledger: Database, one: str, other: str) -> None:
    insert_dead_job(ledger, message=one)
    insert_dead_job(ledger, "b", message=other)

    with ledger.engine.connect() as connection:
        found = queries.groups(connection, FailureFilter())

    assert [(group.failures, group.tenants, group.message) for group in found.groups] == [(2, 2, other)]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_failures_with_other_messages_types_or_reasons_are_other_causes(ledger: Database, one: str, other: str) -> None:
    insert_dead_job(ledger, message=one)
    insert_dead_job(ledger, message=other)
    insert_dead_job(ledger, message=one, error_type="Other")
    insert_dead_job(ledger, message=one, reason="not_found")

    with ledger.engine.connect() as connection:
        assert queries.groups(connection, FailureFilter()).total == 4


def test_a_group_says_all_that_its_failures_share(ledger: Database) -> None:
    # Given one cause of two tenants in two currencies, and an amount that nobody knows
    insert_dead_job(ledger, "a", message="Case 1", amount="10.25", age="5 days", solution="https://x.example/")
    insert_dead_job(ledger, "a", message="Case 2", amount="5.50", age="1 hour")
    insert_dead_job(ledger, "b", message="Case 3", amount="1", currency="EUR", age="10 minutes")
    insert_dead_job(ledger, "b", message="Case 4", amount=None, currency=None)
    insert_dead_job(ledger, "b", message="Case 5", amount="7", currency=None)
    insert_unreadable_message(ledger)

    with ledger.engine.connect() as connection:
        found = queries.groups(connection, FailureFilter())
        group, torn = found.groups
        bars = queries.histogram(connection, FailureFilter(), found.groups)
        opened = list(queries.failures(connection, FailureFilter(cause=group.key)))

    assert (found.total, group.failures, group.tenants, group.pattern) == (2, 5, 2, "Case #")
    assert group.amounts == {"DKK": "15.7500", "EUR": "1.0000", "?": "7.0000"}
    assert group.without_amount == 1
    assert group.last_seen - group.first_seen > timedelta(days=4)
    assert (group.solution_url, group.solution_urls) == ("https://x.example/", 1)
    assert group.newest == opened[-1].dead_letter_id
    assert len(opened) == 5
    assert (torn.reason, torn.failures, torn.tenants, torn.without_amount) == ("malformed_message", 1, 0, 1)
    # And the bars hold each failure once, the newest in the last bar
    assert sum(bars.bars[group.key or uuid4()]) == 5
    assert bars.width == timedelta(hours=12)
    assert bars.bars[group.key or uuid4()][-1] >= 3
    assert all(len(row) == BUCKETS for row in bars.bars.values())


def test_the_largest_groups_come_first_and_the_others_are_counted(ledger: Database) -> None:
    for size, word in ((1, "one"), (3, "three"), (2, "two")):
        for _ in range(size):
            insert_dead_job(ledger, message=word)

    with ledger.engine.connect() as connection:
        found = queries.groups(connection, FailureFilter(), limit=2)

    assert ([group.message for group in found.groups], found.total) == (["three", "two"], 3)


def test_the_tiles_of_an_empty_ledger(ledger: Database) -> None:
    with ledger.engine.connect() as connection:
        tiles = queries.tiles(connection)

    assert (tiles.open_failures, tiles.invalid_client_links, tiles.amounts, tiles.oldest) == (0, 0, {}, None)
    assert tiles.living == {"pending": 0, "waiting": 0, "queued": 0, "submitting": 0, "held": 0}
    assert (tiles.submitted_today, tiles.holds, tiles.leader) == (0, [], None)


def test_the_tiles_tell_what_is_open_at_stake_and_done_today(ledger: Database) -> None:
    insert_dead_job(ledger, amount="10", age="3 days")
    insert_dead_job(ledger, amount="20", currency="EUR", reason="second_unauthorized")
    insert_dead_job(ledger, amount=None)
    insert_unreadable_message(ledger)
    insert_job(ledger, "a", state="submitted", finalized_at=ago("0 s"))
    insert_job(ledger, "a", state="submitted", finalized_at=ago("2 days"))
    set_hold(ledger, HoldName.RATE_LIMIT)

    with ledger.engine.connect() as connection:
        tiles = queries.tiles(connection)

    assert (tiles.open_failures, tiles.invalid_client_links) == (4, 1)
    assert (tiles.amounts, tiles.without_amount) == ({"DKK": "10.0000", "EUR": "20.0000"}, 1)
    assert tiles.oldest is not None
    assert tiles.now - tiles.oldest > timedelta(days=2)
    assert tiles.submitted_today == 1
    assert [(hold["name"], hold["in_force"]) for hold in tiles.holds] == [("rate_limit", True)]


def test_final_jobs_are_counted_once_when_their_day_is_over(ledger: Database) -> None:
    # Given final jobs of today and of days that are over
    for days in (0, 2, 2, 5):
        insert_job(ledger, "a", state="submitted", finalized_at=ago(f"{days} days"))
    insert_job(ledger, "a", state="discarded", finalized_at=ago("5 days"))

    def counted() -> tuple[int, int]:
        with ledger.engine.connect() as connection:
            jobs = queries.counts(connection).jobs
        return jobs["submitted"], jobs["discarded"]

    assert counted() == (4, 1)

    # When the days are closed, twice
    for _ in range(2):
        with transaction(ledger.engine) as connection:
            close_days(connection)

    # Then the counts are the same, and the days that are over need not be read again
    assert counted() == (4, 1)
    days = ledger.rows("SELECT day, state, jobs FROM finished_days WHERE jobs > 0 ORDER BY day, state")
    assert [(state, jobs) for _, state, jobs in days] == [("discarded", 1), ("submitted", 1), ("submitted", 2)]
    last = ledger.value("SELECT max(day) FROM finished_days")
    assert isinstance(last, date)
    assert ledger.value("SELECT ((now() - interval '1 hour') AT TIME ZONE 'UTC')::date - 1") == last

    # And what becomes final from now on is counted as it comes
    insert_job(ledger, "a", state="submitted", finalized_at=ago("0 s"))
    assert counted() == (5, 1)


def test_closing_the_days_of_an_empty_ledger_writes_nothing(ledger: Database) -> None:
    with transaction(ledger.engine) as connection:
        assert close_days(connection) == 0


def test_each_tenant_with_an_invalid_link_has_one_row(ledger: Database) -> None:
    # Given tenants with one or both kinds of invalid link, and other failures that are no matter of links
    insert_dead_job(ledger, "a", reason="second_unauthorized", amount="10", age="3 days")
    insert_dead_job(ledger, "a", reason="second_unauthorized", amount="5", currency="EUR", age="1 day")
    insert_dead_job(ledger, "a", reason="client_link_not_found", amount=None)
    insert_dead_job(ledger, "a", reason="validation", amount="1000")
    insert_dead_job(ledger, "b", reason="client_link_not_found", amount="7", age="1 hour")
    insert_dead_job(ledger, "c", reason="validation")
    insert_job(ledger, "a", state="submitted", finalized_at=ago("10 days"))
    insert_job(ledger, "a", state="submitted", finalized_at=ago("9 days"))
    insert_job(ledger, "a", state="discarded", finalized_at=ago("8 days"))

    with ledger.engine.connect() as connection:
        first = queries.invalid_links(connection, limit=1)
        second = queries.invalid_links(connection, after=first.after, limit=1)
        now = queries.moment_of(connection)

    [a], [b] = first.links, second.links
    assert (a.external_tenant_id, a.jobs, a.without_amount) == ("a", 3, 1)
    assert a.amounts == {"DKK": "10.0000", "EUR": "5.0000"}
    assert timedelta(days=3) <= now - a.since < timedelta(days=3, minutes=1)
    assert a.last_second_unauthorized is not None
    assert timedelta(days=1) <= now - a.last_second_unauthorized < timedelta(days=1, minutes=1)
    assert a.last_submitted is not None
    assert timedelta(days=9) <= now - a.last_submitted < timedelta(days=9, minutes=1)
    assert (b.external_tenant_id, b.jobs, b.last_second_unauthorized, b.last_submitted) == ("b", 1, None, None)
    assert (first.total, first.after, second.after) == (2, (3, "a"), None)


def test_the_menus_offer_what_there_is(ledger: Database) -> None:
    insert_dead_job(ledger, "a")
    insert_dead_job(ledger, "a", currency="EUR", status=422, reason="business_rule", error_type="CreditorBlocked")
    insert_dead_job(ledger, "b", currency=None, status=None, error_type=None)

    with ledger.engine.connect() as connection:
        menus = queries.menus(connection)

    assert menus.tenants == [("a", 2), ("b", 1)]
    assert menus.reasons == [("validation", 2), ("business_rule", 1)]
    assert set(menus.error_types) == {("ValidationError", 1), ("CreditorBlocked", 1)}
    assert set(menus.http_statuses) == {(400, 1), (422, 1)}
    assert set(menus.currencies) == {("DKK", 1), ("EUR", 1)}
