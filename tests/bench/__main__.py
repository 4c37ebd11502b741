"""Runs the benchmark: every contestant in turn, several rounds, then latencies; prints one table."""

from __future__ import annotations

import argparse
import os
import sys

import psycopg
from local_stack import LocalStack
from processes import Failed, Stopped, StopSignals
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from tests.bench import latency, throughput
from tests.bench.cases import write_cases
from tests.bench.contestants import CONTESTANTS
from tests.bench.result import Result, as_json, show

#: The pace is kept, but nothing here can reach it: the API's limits are not what is measured.
SETTINGS = {"WORKER_RATE_LIMITS": "1000000/second"}


def run(stack: LocalStack, signals: StopSignals, *, jobs: int, rounds: int, latencies: int, out: Console) -> Result:
    """Measure everything. Raises Failed, Stopped."""
    cases = stack.folder / "cases.ndjson"
    write_cases(cases, jobs)
    stack.migrate()
    result = Result(jobs=jobs, load=os.getloadavg()[0])
    # Round by round, so that a machine that slows down slows them all.
    for number in range(1, rounds + 1):
        for contestant in CONTESTANTS:
            once = throughput.measure(stack, signals, contestant, cases, jobs)
            result.throughputs.setdefault(contestant.key, []).append(once)
            out.print(
                f"round {number}/{rounds}  {contestant.name} ({contestant.pool}): {once.jobs_per_second:,.0f} jobs/s,"
                f" {once.cpu_ms:.2f} ms CPU a job"
            )
    result.latency = latency.measure(stack, signals, jobs=latencies)
    return result


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--jobs", type=int, default=4000, help="backlog of each run (default: 4000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant; the median counts (default: 3)")
    parser.add_argument("--latencies", type=int, default=100, help="single jobs in an idle system (default: 100)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    wanted = parser.parse_args()
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    with StopSignals() as signals:
        try:
            with LocalStack(signals, settings=SETTINGS, durable=True) as stack:
                # The bare tasks find their broker where this worker finds its own.
                stack.environment["BENCH_BROKER"] = stack.valkey.url
                result = run(
                    stack, signals, jobs=wanted.jobs, rounds=wanted.rounds, latencies=wanted.latencies, out=progress
                )
        except (Failed, RuntimeError, OSError, SQLAlchemyError, psycopg.Error) as failure:
            tail = failure.tail if isinstance(failure, Failed) else ""
            progress.print(f"the benchmark failed: {failure}\n{tail}", markup=False)
            return 1
        except Stopped as stopped:
            progress.print(f"stopped ({stopped}); nothing is left running")
            return 128 + (signals.seen or 0)
    if wanted.json:
        sys.stdout.write(as_json(result))
    else:
        # In a pipe there is no width to ask for; the table needs about this much.
        show(result, Console(highlight=False, width=None if sys.stdout.isatty() else 120))
    return 0


if __name__ == "__main__":
    sys.exit(main())
