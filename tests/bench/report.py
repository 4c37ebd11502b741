"""`python -m tests.bench.report`: how long the report's questions take, and that submitted jobs do not slow them.

Two ledgers with 100,000 dead jobs of 2,000 tenants: one with 900,000 submitted jobs, one with ten times as many. Each
question is asked a number of times, and then each page, as a browser would get it; the median counts, in milliseconds.
Needs about 10 GB of disk for the second one;
`--factor 1` leaves it out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from examples.local_servers import LocalPostgres
from tests.support.databases import Database, sqlalchemy_url
from tests.support.many_failures import fill
from tests.support.web_visitor import Visitor, report
from worker.ledger import migrate, queries
from worker.ledger.database import get_engine, transaction
from worker.ledger.queries import FailureFilter
from worker.ledger.writer.days import close_days

#: What every page is to stay under, in milliseconds.
GOAL = 300.0

Ask = Callable[[Connection], Any]


def front(connection: Connection) -> None:
    """Everything that the first page shows."""
    queries.tiles(connection)
    found = queries.groups(connection, FailureFilter())
    queries.histogram(connection, FailureFilter(), found.groups)


def group(connection: Connection, wanted: FailureFilter) -> None:
    """A group's page: what it is, when it came, and its first jobs."""
    found = queries.groups(connection, wanted)
    queries.histogram(connection, wanted, found.groups)
    queries.failure_page(connection, wanted)


def questions(connection: Connection) -> dict[str, Ask]:
    """What is asked, by the name in the table."""
    everything = queries.groups(connection, FailureFilter()).groups
    largest = everything[0].key
    job = connection.exec_driver_sql("SELECT id FROM jobs WHERE state = 'dead' LIMIT 1").scalar_one()
    of_cause = FailureFilter(cause=largest)
    return {
        "first page: tiles, groups, bars": front,
        "tiles": queries.tiles,
        "groups": lambda c: queries.groups(c, FailureFilter()),
        "bars of all groups": lambda c: queries.histogram(c, FailureFilter(), everything),
        "menus of the filter": queries.menus,
        "page of the largest group": lambda c: group(c, of_cause),
        "page of a tenant": lambda c: group(c, FailureFilter(tenant="tenant-7")),
        "page by amount and currency": lambda c: group(c, FailureFilter(min_amount=Decimal(9000), currency="EUR")),
        "page by age": lambda c: group(c, FailureFilter(since=timedelta(days=1))),
        "page by type and status": lambda c: group(c, FailureFilter(error_type="CreditorBlocked", http_status=422)),
        "page by words in the message": lambda c: group(c, FailureFilter(text="division 477")),
        "page by reference": lambda c: group(c, FailureFilter(reference="dead-4711")),
        "a page deep in the list": lambda c: queries.failure_page(c, FailureFilter(), after=50_000),
        "invalid client links": queries.invalid_links,
        "one job": lambda c: (queries.story(c, job), queries.case_versions(c, job)),
        "preview of everything": lambda c: queries.selected(c, FailureFilter()),
        "case-worker status": queries.counts,
    }


def pages(ledger: Database) -> dict[str, str]:
    """The pages of the report, by what is asked for."""
    cause = ledger.value("SELECT cause FROM dead_letters WHERE resolved_at IS NULL GROUP BY 1 ORDER BY count(*) DESC")
    job = ledger.value("SELECT job_id FROM dead_letters WHERE resolved_at IS NULL LIMIT 1")
    return {
        "page: causes": "/",
        "page: causes of a day": "/?within=1d",
        "page: causes by words": "/?text=email",
        "page: all jobs": "/jobs",
        "page: jobs of the largest cause": f"/jobs?cause={cause}",
        "page: jobs by words": "/jobs?text=email+inv",
        "page: jobs by amount": "/jobs?min=9000&currency=EUR",
        "page: jobs, deep in the list": "/jobs?after=50000",
        "page: client links": "/links",
        "page: one job": f"/jobs/{job}",
        "page: find, without a match": "/find?q=nobody-has-it",
        "page: audit log": "/audit",
        "page: operations": "/operations",
        "page: preview of everything": "/act?verb=replay&scope=filter",
    }


def measure_pages(ledger: Database, times: int) -> dict[str, float]:
    """The median of each page, in milliseconds, with all that it asks and writes. Raises RuntimeError for no page."""
    visitor = Visitor(report(ledger, {"DATABASE_URL": ledger.url, "REDIS_URL": "redis://127.0.0.1:1/0"}))
    found = {}
    for what, path in pages(ledger).items():
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            answer = visitor.get(path)
            taken.append((time.perf_counter() - begun) * 1000)
            if answer.status_code != 200:
                raise RuntimeError(f"{path} answered {answer.status_code}")
        found[what] = statistics.median(taken)
    return found


def measure(postgres: LocalPostgres, name: str, *, submitted: int, dead: int, times: int) -> dict[str, float]:
    """The median of each question, in milliseconds, on a ledger of that size."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    migrate.upgrade(sqlalchemy_url(postgres.url, name))
    fill(f"{postgres.url.rsplit('/', 1)[0]}/{name}", submitted=submitted, dead=dead, resolved=dead // 2)
    engine = get_engine(sqlalchemy_url(postgres.url, name))
    with transaction(engine) as connection:
        close_days(connection)
    found = {}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for what, ask in questions(connection).items():
            taken = []
            for _ in range(times):
                begun = time.perf_counter()
                ask(connection)
                taken.append((time.perf_counter() - begun) * 1000)
            found[what] = statistics.median(taken)
    found |= measure_pages(Database(f"{postgres.url.rsplit('/', 1)[0]}/{name}", engine), times)
    engine.dispose()
    return found


def main() -> int:
    """Print the table. Returns 1 where a median is above the goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.report", description=__doc__)
    parser.add_argument("--submitted", type=int, default=900_000, help="submitted jobs (default: 900000)")
    parser.add_argument("--dead", type=int, default=100_000, help="dead jobs (default: 100000)")
    parser.add_argument("--factor", type=int, default=10, help="how many times as many submitted jobs (default: 10)")
    parser.add_argument("--times", type=int, default=15, help="how often each question is asked (default: 15)")
    wanted = parser.parse_args()
    sizes = {"small": wanted.submitted} | ({"large": wanted.submitted * wanted.factor} if wanted.factor > 1 else {})
    results = {}
    with LocalPostgres(durable=False) as postgres:
        for name, submitted in sizes.items():
            sys.stderr.write(f"{submitted + wanted.dead:,} jobs, {wanted.dead:,} of them dead ...\n")
            results[name] = measure(postgres, name, submitted=submitted, dead=wanted.dead, times=wanted.times)
    table = Table(title="median, ms")
    table.add_column("question")
    for submitted in sizes.values():
        table.add_column(f"{submitted:,} submitted", justify="right")
    for what in results["small"]:
        table.add_row(what, *(f"{results[name][what]:.1f}" for name in sizes))
    Console().print(table)
    return int(any(median > GOAL for result in results.values() for median in result.values()))


if __name__ == "__main__":
    sys.exit(main())
