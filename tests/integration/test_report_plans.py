"""No query of the report scans a whole table, however many final jobs and resolved failures exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from local_servers import LocalPostgres
from sqlalchemy import Connection

from tests.support.databases import TEMPLATE, Database, sqlalchemy_url
from tests.support.many_failures import fill
from tests.support.query_plans import plan_of
from worker.ledger import queries
from worker.ledger.database import get_engine, transaction
from worker.ledger.queries import FailureFilter, alerts
from worker.ledger.queries.audit import AuditFilter, acts, distinct_actions, distinct_actors
from worker.ledger.queries.failures import find_jobs
from worker.ledger.writer.days import close_days

TABLES = ("jobs", "dead_letters", "attempts", "audit_log", "operation_items")
CAUSE = UUID(int=1)
YEARS_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def seeded(postgres: LocalPostgres) -> Iterator[Database]:
    """A hundred thousand jobs, a tenth of them dead, and as many failures that were resolved."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE report_plans TEMPLATE {TEMPLATE}")
    ledger = Database(
        f"{postgres.url.rsplit('/', 1)[0]}/report_plans", get_engine(sqlalchemy_url(postgres.url, "report_plans"))
    )
    fill(ledger.url, submitted=90_000, dead=10_000, resolved=10_000, tenants=500)
    ledger.rows(
        "INSERT INTO audit_log (at, actor, action, job_id)"
        " SELECT now() - n * interval '1 min', 'person-' || mod(n, 50),"
        " CASE mod(n, 500) WHEN 0 THEN 'reveal' ELSE 'replay' END, gen_random_uuid() FROM generate_series(1, 20000) n"
    )
    with psycopg.connect(ledger.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE audit_log")
    with transaction(ledger.engine) as connection:
        close_days(connection)
    yield ledger
    ledger.engine.dispose()


FILTERS = {
    "all": FailureFilter(),
    "tenant": FailureFilter(tenant="tenant-7"),
    "reason": FailureFilter(reason="validation"),
    "invalid links": FailureFilter(invalid_links=True),
    "since": FailureFilter(since=timedelta(hours=1)),
    "older": FailureFilter(older_than=timedelta(days=1)),
    "between": FailureFilter(
        failed_from=datetime(2020, 1, 1, tzinfo=UTC), failed_before=datetime(2021, 1, 1, tzinfo=UTC)
    ),
    "type": FailureFilter(error_type="CreditorBlocked"),
    "status": FailureFilter(http_status=404),
    "amounts": FailureFilter(min_amount=Decimal(10), max_amount=Decimal(20), currency="EUR"),
    "reference": FailureFilter(reference="dead-77"),
    "text": FailureFilter(text="email inv"),
    "rare text": FailureFilter(text="INV-777"),
    "cause": FailureFilter(cause=CAUSE),
    "jobs": FailureFilter(jobs=(uuid4(), uuid4())),
    "ticked": FailureFilter(letters=(1, 2, 3)),
    "many": FailureFilter(
        tenant="tenant-7", reason="validation", http_status=400, text="email", since=timedelta(days=9)
    ),
}  # fmt: skip


def histogram(connection: Connection, wanted: FailureFilter) -> Any:
    return queries.histogram(connection, wanted, queries.groups(connection, wanted).groups)


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize(
    "ask",
    [
        queries.groups,
        histogram,
        queries.failure_page,
        lambda c, wanted: queries.failure_page(c, wanted, after=5000),
        lambda c, wanted: queries.failure_page(c, wanted, before=5000, newest_first=False),
        queries.selected,
        lambda c, wanted: queries.page_of_targets(c, wanted, after=5000, newest=20_000, limit=500),
    ],
    ids=["groups", "histogram", "newest", "next page", "page before", "preview", "chunk"],
)
def test_no_filter_makes_the_report_read_a_whole_table(
    seeded: Database, ask: Callable[[Connection, FailureFilter], Any], wanted: FailureFilter
) -> None:
    plan = plan_of(seeded, lambda connection: ask(connection, wanted))

    for table in TABLES:
        assert f"Seq Scan on {table}" not in plan, plan


@pytest.mark.parametrize(
    "ask",
    [
        queries.tiles,
        queries.counts,
        queries.menus,
        queries.invalid_links,
        lambda c: queries.invalid_links(c, after=(3, "tenant-7")),
        close_days,
        lambda c: alerts.group_facts(c, [found.cause for found in alerts.open_causes(c)]),
        lambda c: alerts.bad_links_since(c, datetime.now(UTC), margin=60, settles=30),
        lambda c: alerts.still_bad_links(c, ["tenant-7", "nobody"]),
        alerts.oldest_pending,
        lambda c: acts(c, AuditFilter()),
        lambda c: acts(c, AuditFilter(actor="person-7"), older_than=5000),
        lambda c: acts(c, AuditFilter(action="reveal", since=YEARS_AGO)),
        lambda c: acts(c, AuditFilter(job=CAUSE, before=YEARS_AGO)),
        lambda c: (distinct_actions(c), distinct_actors(c)),
        lambda c: find_jobs(c, "dead-77"),
        lambda c: find_jobs(c, "submitted-77", tenant="tenant-7"),
    ],
    ids=[
        "tiles",
        "counts",
        "menus",
        "links",
        "more links",
        "closing days",
        "new causes",
        "new bad links",
        "known bad links",
        "oldest pending",
        "audit",
        "older audit",
        "audit of an action",
        "audit of a job",
        "audit's menus",
        "a reference",
        "a tenant's reference",
    ],
)
def test_no_other_query_of_the_report_reads_a_whole_table(seeded: Database, ask: Callable[[Connection], Any]) -> None:
    plan = plan_of(seeded, ask)

    for table in TABLES:
        assert f"Seq Scan on {table}" not in plan, plan


def test_one_job_s_page_reads_its_own_rows_only(seeded: Database) -> None:
    job = UUID(str(seeded.value("SELECT job_id FROM dead_letters WHERE resolved_at IS NULL LIMIT 1")))

    plan = plan_of(seeded, lambda c: (queries.story(c, job), queries.case_versions(c, job)))

    for table in ("jobs", "dead_letters", "attempts", "audit_log"):
        assert f"Seq Scan on {table}" not in plan, plan


def test_all_groups_cost_no_look_at_any_job_s_row(seeded: Database) -> None:
    plan = plan_of(seeded, lambda c: queries.groups(c, FailureFilter()))

    assert "Index Only Scan using ix_jobs_dead on jobs" in plan, plan


def test_what_was_submitted_on_days_that_are_over_is_not_read_again(seeded: Database) -> None:
    """90,000 were submitted 2 s apart, so they reach back two days."""
    before = seeded.value("SELECT sum(jobs) FROM finished_days WHERE state = 'submitted'")

    with seeded.engine.connect() as connection:
        assert queries.counts(connection).jobs["submitted"] == 90_000
    assert 0 < int(str(before)) < 90_000
