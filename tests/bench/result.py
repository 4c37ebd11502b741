"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.contestants import CONTESTANTS
from tests.bench.latency import Latency
from tests.bench.throughput import Throughput

#: The load average below which nothing else of weight is going on.
QUIET = 0.5


@dataclass
class Result:
    """All runs of all contestants, by the contestant's key."""

    jobs: int
    load: float
    """The machine's load average before the first run: what else was going on."""
    throughputs: dict[str, list[Throughput]] = field(default_factory=dict)
    latency: Latency | None = None


def medians(runs: list[Throughput]) -> Throughput:
    """The median of each figure by itself."""
    return Throughput(
        jobs_per_second=median(run.jobs_per_second for run in runs),
        cpu_ms=median(run.cpu_ms for run in runs),
        postgres_cpu_ms=median(run.postgres_cpu_ms for run in runs),
    )


def as_json(result: Result) -> str:
    """One object: the machine, each contestant's medians and runs, and the latency."""
    contestants: dict[str, Any] = {}
    for contestant in CONTESTANTS:
        runs = result.throughputs[contestant.key]
        contestants[contestant.key] = {
            "name": contestant.name,
            "pool": contestant.pool,
            **asdict(medians(runs)),
            "runs": [asdict(run) for run in runs],
        }
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    whole = {"machine": machine, "load_before": result.load, "jobs": result.jobs, "contestants": contestants}
    return json.dumps(whole | {"latency": asdict(result.latency) if result.latency else None}, indent=2) + "\n"


def show(result: Result, out: Console) -> None:
    """The table: medians, side by side."""
    rounds = max(len(runs) for runs in result.throughputs.values())
    table = Table(
        title=f"{result.jobs:,} cases in a backlog, one HTTP server, {os.cpu_count()} CPUs; median of {rounds} rounds",
        title_justify="left",
        caption="CPU: of all worker processes together, not of the servers; PostgreSQL's is in its own column",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    table.add_column("pool", no_wrap=True)
    for heading in ("jobs/s", "lowest-highest", "CPU ms/job", "PostgreSQL ms/job"):
        table.add_column(heading, justify="right", no_wrap=True)
    for contestant in CONTESTANTS:
        runs = result.throughputs[contestant.key]
        middle, speeds = medians(runs), [run.jobs_per_second for run in runs]
        table.add_row(
            contestant.name,
            contestant.pool,
            f"{middle.jobs_per_second:,.0f}",
            f"{min(speeds):,.0f}-{max(speeds):,.0f}",
            f"{middle.cpu_ms:.2f}",
            f"{middle.postgres_cpu_ms:.2f}",
        )
    out.print(table)
    if result.load > QUIET:
        out.print(f"The machine was not quiet: its load average was {result.load:.1f} before the first run.")
    if result.latency is not None:
        found = result.latency
        out.print(
            f"From enqueue_case to the API, this worker idle, {found.jobs} single jobs:"
            f" median {found.median_ms:.0f} ms, 95 % within {found.p95_ms:.0f} ms, at most {found.max_ms:.0f} ms"
        )
