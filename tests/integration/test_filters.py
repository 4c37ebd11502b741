"""Every part of the filter selects the same failures in lists, groups and bulk operations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from tests.support.databases import Database
from tests.support.rows import insert_dead_job, insert_dead_letter, insert_unreadable_message
from worker.ledger import queries
from worker.ledger.queries import FailureFilter


@pytest.fixture
def jobs(ledger: Database) -> dict[str, UUID]:
    """Failures that differ in every field that a filter can use."""
    return {
        "email": insert_dead_job(ledger, "a", amount="10.50", reference="INV-1", age="3 days"),
        "zip": insert_dead_job(
            ledger, "b", message="debtor.zipCode: \u201812\u2019 is too short", amount="99.99", reference="INV-10"
        ),
        "kyc": insert_dead_job(
            ledger, "b", reason="business_rule", error_type="MissingKycVerification", status=422, amount="250",
            currency="EUR", message="Verify your identity first, Ærø!", solution="https://x.example/b", age="1 hour",
        ),
        "link": insert_dead_job(
            ledger, "c", reason="client_link_not_found", error_type=None, status=404, amount=None, message="no link"
        ),
        "silent": insert_dead_job(
            ledger, "c", reason="outcome_unknown", detail={}, unknown=True, amount="-5", age="40 days"
        ),
    }  # fmt: skip


def found(ledger: Database, wanted: FailureFilter, jobs: dict[str, UUID]) -> set[str]:
    """The names of the jobs found; all three queries must agree."""
    names = {job: name for name, job in jobs.items()}
    with ledger.engine.connect() as connection:
        listed = [names[f.job_id] for f in queries.failures(connection, wanted) if f.job_id]
        groups = queries.groups(connection, wanted)
        chosen = queries.selected(connection, wanted)
        targets = queries.page_of_targets(connection, wanted, after=0, newest=10**9, limit=100)
    assert chosen.jobs == sum(group.failures for group in groups.groups) == len(listed)
    assert [names[t.job_id] for t in targets if t.job_id] == listed
    assert chosen.tenants == len({t.external_tenant_id for t in targets})
    return set(listed)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (FailureFilter(), {"email", "zip", "kyc", "link", "silent"}),
        (FailureFilter(tenant="b"), {"zip", "kyc"}),
        (FailureFilter(reason="validation"), {"email", "zip"}),
        (FailureFilter(invalid_links=True), {"link"}),
        (FailureFilter(since=timedelta(hours=2)), {"zip", "kyc", "link"}),
        (FailureFilter(older_than=timedelta(hours=2)), {"email", "silent"}),
        (FailureFilter(since=timedelta(days=7), older_than=timedelta(hours=2)), {"email"}),
        (FailureFilter(failed_before=datetime.now(UTC) - timedelta(days=10)), {"silent"}),
        (FailureFilter(failed_from=datetime.now(UTC) - timedelta(days=10), tenant="c"), {"link"}),
        (FailureFilter(error_type="MissingKycVerification"), {"kyc"}),
        (FailureFilter(error_type="missingkycverification"), set()),
        (FailureFilter(http_status=404), {"link"}),
        (FailureFilter(min_amount=Decimal("99.99")), {"zip", "kyc"}),
        (FailureFilter(max_amount=Decimal("10.50")), {"email", "silent"}),
        (FailureFilter(min_amount=Decimal(0), max_amount=Decimal(100), currency="DKK"), {"email", "zip"}),
        (FailureFilter(currency="EUR"), {"kyc"}),
        (FailureFilter(reference="INV-1"), {"email"}),
        (FailureFilter(text="email"), {"email"}),
        (FailureFilter(text="DEBTOR"), {"email", "zip"}),
        (FailureFilter(text="debtor.zip shor"), {"zip"}),
        (FailureFilter(text="12"), {"zip"}),
        (FailureFilter(text="Ærø"), {"kyc"}),
        (FailureFilter(text="identity debtor"), set()),
        (FailureFilter(text="dentity"), set()),
        (FailureFilter(text="!?"), set()),
        (FailureFilter(text="'; DROP TABLE jobs; --"), set()),
        (FailureFilter(text="a & | ! ( ) : * < >"), set()),
        (FailureFilter(tenant="b", reason="validation", http_status=400, text="too"), {"zip"}),
    ],
)  # fmt: skip
def test_each_part_of_a_filter_narrows_the_selection(
    ledger: Database, jobs: dict[str, UUID], wanted: FailureFilter, names: set[str]
) -> None:
    assert found(ledger, wanted, jobs) == names
    # And the same when it has been stored and its ages are points in time
    assert found(ledger, FailureFilter.from_dict(wanted.fixed_at(datetime.now(UTC)).as_dict()), jobs) == names


def test_a_filter_selects_ticked_rows_and_jobs_by_id(ledger: Database, jobs: dict[str, UUID]) -> None:
    message = insert_unreadable_message(ledger)
    with ledger.engine.connect() as connection:
        letters = {f.job_id: f.dead_letter_id for f in queries.failures(connection, FailureFilter())}
        ticked = FailureFilter(letters=(letters[jobs["kyc"]], message, 999_999))
        chosen = queries.selected(connection, ticked)
    assert (chosen.jobs, chosen.messages, chosen.newest) == (1, 1, message)
    assert found(ledger, FailureFilter(jobs=(jobs["zip"], jobs["email"])), jobs) == {"zip", "email"}


def test_long_references_and_types_are_compared_in_full(ledger: Database) -> None:
    # Given two references that share their first fifty characters, and a type and an address too long for an index
    one, other = "R" * 60 + "1", "R" * 60 + "2"
    job = insert_dead_job(ledger, reference=one, error_type="T" * 5000, solution="https://x.example/" + "s" * 5000)
    insert_dead_job(ledger, reference=other)

    assert found(ledger, FailureFilter(reference=one), {"it": job}) == {"it"}
    assert found(ledger, FailureFilter(error_type="T" * 5000), {"it": job}) == {"it"}


def test_a_page_has_neighbours_on_both_sides(ledger: Database) -> None:
    # Given seven failures
    jobs = [insert_dead_job(ledger) for _ in range(7)]
    wanted = FailureFilter()

    with ledger.engine.connect() as connection:
        # When they are read newest first, three on a page
        first = queries.failure_page(connection, wanted, limit=3)
        second = queries.failure_page(connection, wanted, after=first.after, limit=3)
        third = queries.failure_page(connection, wanted, after=second.after, limit=3)
        # And back again
        back = queries.failure_page(connection, wanted, before=third.before, limit=3)
        start = queries.failure_page(connection, wanted, before=back.before, limit=3)
        oldest = queries.failure_page(connection, wanted, limit=3, newest_first=False)

    assert [f.job_id for page in (first, second, third) for f in page.failures] == jobs[::-1]
    assert (first.before, third.after) == (None, None)
    assert back.failures == second.failures
    assert start.failures == first.failures
    assert (start.before, start.after) == (None, first.after)
    assert [f.job_id for f in oldest.failures] == jobs[:3]


def test_an_empty_page_has_no_neighbours(ledger: Database) -> None:
    with ledger.engine.connect() as connection:
        page = queries.failure_page(connection, FailureFilter(tenant="nobody"))

    assert (page.failures, page.before, page.after) == ([], None, None)


def test_odd_details_of_unreadable_messages_do_not_stand_in_the_way(ledger: Database) -> None:
    """No message, however odd, may prevent its dead letter from being stored."""
    for detail in (
        "[]", '"x"', "null", "7", '{"status": "2147483648"}', '{"status": {"a": 1}}',
        '{"status": "99999", "type": 5, "message": ["x"]}', '{"message": null}',
    ):  # fmt: skip
        insert_dead_letter(ledger, None, "malformed_message", detail=detail)

    with ledger.engine.connect() as connection:
        groups = queries.groups(connection, FailureFilter(reason="malformed_message"))
        assert sum(group.failures for group in groups.groups) == 8
        assert {f.http_status for f in queries.failures(connection, FailureFilter())} == {None}
