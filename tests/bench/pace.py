"""How the fleet keeps the API's limits: `python -m tests.bench.pace`, about ten minutes.

Four questions, each on a fresh, real stack with a sandbox that enforces the limits: how much of the allowance is used
with 1, 2 and 4 workers, and is anything refused; how long a newcomer waits behind 50,000 jobs of another tenant; what
an outage of a minute costs; and whether releasing stays as cheap with a backlog of a million.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import psycopg
from local_servers import LocalPostgres
from local_stack import LocalStack
from processes import Failed, Stopped, StopSignals

from worker.ledger import migrate
from worker.ledger.database import get_engine, transaction
from worker.ledger.states import Api
from worker.ledger.writer import release as ledger
from worker.ledger.writer.pace import lock_for_release, read_in_turn, take, use
from worker.policy.rate_limit import Pace
from worker.settings import Settings

#: What the sandbox enforces: the documented minute, with the hour and the day out of the way.
LIMITS = "2000/minute;20000/hour"
#: Seconds over which the use of the allowance is measured.
SPAN = 60

# The ids are in the order of time, as the ledger's own are.
_FILL = """
    INSERT INTO jobs (id, external_tenant_id, idempotency_key, case_body, submission_key, round)
    SELECT (left(time, 8) || '-' || right(time, 4) || '-7' || right(gen_random_uuid()::text, 21))::uuid,
           %(prefix)s || (n %% %(tenants)s), %(prefix)s || n,
           json_build_object('debtor',
                             json_build_object('type', 'Company', 'name', 'Bench ' || n, 'countryAlpha2', 'DK'),
                             'currencyCode', 'DKK', 'amountToRecover', 100 + n)::text,
           gen_random_uuid(), n / %(tenants)s
    FROM generate_series(0, %(jobs)s - 1) n,
         LATERAL lpad(to_hex((EXTRACT(epoch FROM clock_timestamp()) * 1000)::bigint + n * 0), 12, '0') time
"""


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pace", description=__doc__)
    parser.add_argument("--only", choices=list(QUESTIONS), help="one question only")
    parser.add_argument("--outage", type=float, default=60, help="seconds of the outage (default: 60)")
    wanted = parser.parse_args()
    with StopSignals() as signals:
        try:
            for name, question in QUESTIONS.items():
                if wanted.only in (None, name):
                    sys.stdout.write(f"{name}: {json.dumps(question(signals, wanted))}\n")
                    sys.stdout.flush()
        except Failed as failure:
            sys.stderr.write(f"the benchmark failed: {failure}\n{failure.tail}\n")
            return 1
        except Stopped as stopped:
            sys.stderr.write(f"stopped ({stopped}); nothing is left running\n")
            return 130
    return 0


def allowance(signals: StopSignals, _wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Use of the minute's allowance over SPAN seconds with a backlog, and what was refused."""
    found = []
    for workers in (1, 2, 4):
        with stack_with(signals, LIMITS) as stack:
            fill(stack, jobs=3000, tenants=300)
            for _ in range(workers):
                stack.start_worker(concurrency=1)
            wait_for(signals, stack, lambda s=stack: bool(arrivals(s)))
            signals.rest(SPAN + 1 - (time.time() - min(arrivals(stack))))
            at = arrivals(stack)
            used = sum(1 for moment in at if moment < min(at) + SPAN)
            found.append({"workers": workers, "use": round(used / 2000, 3), "refused": refused(stack)})
    return found


def newcomer(signals: StopSignals, _wanted: argparse.Namespace) -> dict[str, Any]:
    """How long single jobs of new tenants wait behind 50,000 of another, in intervals of the pace."""
    waits = []
    with stack_with(signals, LIMITS, WORKER_TENANT_CONCURRENCY="200") as stack:
        fill(stack, jobs=50_000, tenants=1, prefix="giant")
        stack.start_worker()
        wait_for(signals, stack, lambda: len(arrivals(stack)) > 300)
        for n in range(20):
            fill(stack, jobs=1, tenants=1, prefix=f"newcomer-{n}-", in_turn=True)
            began = time.time()
            wait_for(signals, stack, lambda n=n: submitted(stack, f"newcomer-{n}-0"))
            waits.append(submitted_at(stack, f"newcomer-{n}-0") - began)
            signals.rest(0.3)
    interval = Pace.parse(LIMITS).interval
    return {
        "interval_ms": round(interval * 1000, 1),
        "median_intervals": round(statistics.median(waits) / interval, 1),
        "worst_intervals": round(max(waits) / interval, 1),
        "median_ms": round(statistics.median(waits) * 1000),
    }


def outage(signals: StopSignals, wanted: argparse.Namespace) -> dict[str, Any]:
    """What an outage costs with 10,000 jobs waiting, and how soon the fleet is back at its pace."""
    with stack_with(signals, LIMITS) as stack:
        fill(stack, jobs=10_000, tenants=1000)
        stack.start_worker()
        wait_for(signals, stack, lambda: len(arrivals(stack)) > 300)
        call(stack, "faults", {"rules": [{"endpoint": "cases", "kind": "status", "status": 503}]})
        signals.rest(wanted.outage)
        probes = asked(stack, "SELECT max(probes) FROM holds")
        call(stack, "faults", {"rules": []})
        over = time.time()
        signals.rest(12)
        good = [moment for moment in arrivals(stack) if moment > over]
        burnt = asked(stack, "SELECT COALESCE(sum(attempt_count), 0) FROM jobs WHERE state <> 'submitted'")
        failed = asked(stack, "SELECT count(*) FROM attempts WHERE outcome = 'server_error'")
        dead = asked(stack, "SELECT count(*) FROM jobs WHERE state = 'dead'")
        pace = 1 / Pace.parse(LIMITS).interval
        back = next(
            (s / 10 for s in range(120) if sum(over + s / 10 <= m < over + s / 10 + 1 for m in good) >= pace * 0.9),
            None,
        )
    return {
        "seconds": wanted.outage, "failed_requests": failed, "probes": probes, "attempts_still_counted": burnt,
        "dead": dead, "full_pace_after_seconds": back,
    }  # fmt: skip


def release_cost(signals: StopSignals, _wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Milliseconds of one release of 20 jobs, per job, at growing backlogs over 5,000 tenants."""
    found = []
    with LocalPostgres(durable=False) as postgres:
        settings = Settings.from_environment({"DATABASE_URL": postgres.url})
        migrate.upgrade(settings.database_url)
        engine, pace = get_engine(settings.database_url), Pace.parse("1000000000/second")
        for backlog in (1000, 100_000, 1_000_000):
            signals.check()
            with psycopg.connect(postgres.url, autocommit=True) as connection:
                connection.execute("TRUNCATE jobs CASCADE")
                connection.execute(_FILL, {"jobs": backlog, "tenants": 5000, "prefix": "t"})
                connection.execute("VACUUM ANALYZE jobs")
            costs = []
            for turn in range(100):
                began = time.perf_counter()
                with transaction(engine) as connection:
                    read_in_turn(connection)
                    ledger.standing(connection)
                    lock_for_release(connection)
                    use(connection, Api.CUSTOMER, pace)
                    released = ledger.release(connection, room=20, tenant_cap=4)
                    take(connection, Api.CUSTOMER, pace, len(released))
                costs.append((time.perf_counter() - began) * 1000 / len(released))
                # A worker has taken them, and as many have come: the backlog stays what it is.
                with psycopg.connect(postgres.url, autocommit=True) as connection:
                    connection.execute(
                        "UPDATE jobs SET state = 'discarded', finalized_at = now(), queued_at = NULL"
                        " WHERE state = 'queued'"
                    )
                    connection.execute(_FILL, {"jobs": len(released), "tenants": 5000, "prefix": f"after-{turn}-"})
            found.append({"backlog": backlog, "ms_per_job": round(statistics.median(costs), 3)})
        engine.dispose()
    return found


@contextmanager
def stack_with(signals: StopSignals, limits: str, **settings: str) -> Iterator[LocalStack]:
    """A stack whose sandbox enforces the minute's limit and whose workers know it."""
    with LocalStack(signals, settings={"WORKER_RATE_LIMITS": limits, **settings}) as stack:
        stack.migrate()
        call(stack, "settings", {"rateLimits": limits})
        yield stack


def call(stack: LocalStack, name: str, fields: dict[str, Any] | None = None) -> Any:
    """One of the sandbox's control endpoints."""
    body = None if fields is None else json.dumps(fields).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{stack.sandbox_url}/_sandbox/{name}", body, headers), timeout=30) as answer:
        return json.load(answer)


def arrivals(stack: LocalStack) -> list[float]:
    """When each POST /cases came in, in seconds since the epoch."""
    return [request["at"] for request in call(stack, "requests?path=/cases")]


def refused(stack: LocalStack) -> int:
    """How many were answered 429."""
    return int(call(stack, "stats")["requests"].get("POST /cases", {}).get("429", 0))


def asked(stack: LocalStack, question: str, *parameters: object) -> Any:
    """One value from the ledger."""
    with psycopg.connect(stack.environment["DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute(question, parameters).fetchone()
        return row[0] if row else None


def fill(stack: LocalStack, *, jobs: int, tenants: int, prefix: str = "tenant-", in_turn: bool = False) -> None:
    """A backlog, put straight into the table; `in_turn` begins at the round that is being served.

    In one transaction: a job that is released before its round is set would be locked for a moment by that UPDATE, and
    a claim passes over what is locked.
    """
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        connection.execute(_FILL, {"jobs": jobs, "tenants": tenants, "prefix": prefix})
        if in_turn:
            connection.execute(
                "UPDATE jobs SET round = COALESCE((SELECT min(round) FROM jobs WHERE state = 'pending' AND"
                " external_tenant_id NOT LIKE %s), 0) WHERE external_tenant_id LIKE %s AND state = 'pending'",
                (f"{prefix}%", f"{prefix}%"),
            )


def submitted(stack: LocalStack, key: str) -> bool:
    """Whether the job with that idempotency key is submitted."""
    return bool(asked(stack, "SELECT state = 'submitted' FROM jobs WHERE idempotency_key = %s", key))


def submitted_at(stack: LocalStack, key: str) -> float:
    """When its request left, in seconds since the epoch."""
    question = (
        "SELECT EXTRACT(epoch FROM a.started_at)::float8 FROM attempts a JOIN jobs j ON j.id = a.job_id"
        " WHERE j.idempotency_key = %s"
    )
    return float(asked(stack, question, key))


def wait_for(signals: StopSignals, stack: LocalStack, true: Callable[[], bool], within: float = 60) -> None:
    """Wait for it. Raises Failed, Stopped."""
    until = time.monotonic() + within
    while not true():
        stack.require_alive()
        if time.monotonic() > until:
            raise Failed("what was waited for did not come")
        signals.rest(0.05)


QUESTIONS = {"allowance": allowance, "newcomer": newcomer, "outage": outage, "release_cost": release_cost}

if __name__ == "__main__":
    sys.exit(main())
