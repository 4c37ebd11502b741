"""The long form: round after round of faults for many minutes, with the minute of absence for real, and a table."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from local_servers import LocalPostgres, LocalValkey
from rich.console import Console
from rich.table import Table

from tests.support.faults.catalog import Fault, Strike, api, broker, database, stopping, workers
from tests.support.faults.mix import Mix
from tests.support.faults.rabbitmq import LocalRabbitMQ
from tests.support.faults.stage import Stage, prepare_ledger
from tests.support.faults.traffic import Traffic

#: Jobs and faults of one round.
JOBS, STRIKES = 280, 14
#: Seconds: the minute for which the broker and the ledger are away, once each.
A_MINUTE = 60.0
FAULTS = (*workers.FAULTS, *database.FAULTS, *api.FAULTS, *stopping.FAULTS)


@dataclass(slots=True)
class Tally:
    """What a run did, for its table."""

    seed: str
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    settled_in: list[float] = field(default_factory=list)
    jobs: int = 0
    posts: int = 0
    submitted: int = 0
    dead: int = 0
    lease: float = 0.0
    seconds: float = 0.0


def run(seed: str, minutes: float, *, over_amqp: bool, say: Callable[[str], None]) -> Tally:
    """Break things for that many minutes. Raises AssertionError as soon as the invariant does not hold."""
    tally = Tally(seed)
    began = time.monotonic()
    on_the_broker = broker.AMQP_FAULTS if over_amqp else broker.FAULTS
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="case-worker-faults-")))
        postgres = ends.enter_context(LocalPostgres(durable=True))
        prepare_ledger(postgres)
        stage = ends.enter_context(
            Stage(
                folder,
                postgres=postgres,
                valkey=ends.enter_context(LocalValkey()),
                rabbitmq=ends.enter_context(LocalRabbitMQ()) if over_amqp else None,
                pools=("prefork", "prefork", "threads"),
                skews={1: 120.0},
            )
        )
        minutes_away = [fault for fault in (*on_the_broker, *database.FAULTS) if fault.name.endswith("_away")]
        while (elapsed := time.monotonic() - began) < minutes * 60 or minutes_away:
            tally.rounds += 1
            dice = Random(f"{seed}/{tally.rounds}")
            if minutes_away and elapsed > minutes * 60 * (3 - len(minutes_away)) / 4:
                _be_away(stage, minutes_away.pop(), dice, tally)
            else:
                outcome = Mix(stage, dice, (*FAULTS, *on_the_broker)).run(jobs=JOBS, strikes=STRIKES)
                tally.faults.update(outcome.faults)
                tally.settled_in.append(outcome.settled_in)
            states = stage.states()
            tally.jobs, tally.submitted, tally.dead = len(stage.expected), states["submitted"], states.get("dead", 0)
            tally.posts = sum(stage.witness.stats()["requests"]["POST /cases"].values())
            tally.seconds, tally.lease = time.monotonic() - began, stage.lease
            say(
                f"{tally.seconds:5.0f} s  round {tally.rounds:3}  {tally.jobs:6} jobs  {tally.faults.total():4} faults"
                f"  settled {tally.settled_in[-1]:4.1f} s after the last fault"
            )
    return tally


def _be_away(stage: Stage, fault: Fault, dice: Random, tally: Tally) -> None:
    """One fault alone, for a minute."""
    with Traffic(stage, per_second=4):
        fault.happen(Strike(stage, dice, away=A_MINUTE))
    ended = time.monotonic()
    stage.settle(broker_forgot=fault.broker_forgets)
    tally.settled_in.append(time.monotonic() - ended)
    tally.faults[f"{fault.name}, {A_MINUTE:.0f} s"] += 1
    stage.require_invariant()


def table(tally: Tally) -> Table:
    """The run in figures."""
    shown = Table("what", "figure", title=f"{tally.seconds / 60:.1f} minutes of faults, seed {tally.seed}")
    rows = {
        "jobs": f"{tally.jobs}: {tally.submitted} submitted, {tally.dead} dead for a reason that the sandbox bears out",
        "faults": f"{tally.faults.total()} in {tally.rounds} rounds",
        "lost": "0",
        "twice": "0",
        "last fault to last job settled": (
            f"median {statistics.median(tally.settled_in):.1f} s, longest {max(tally.settled_in):.1f} s"
            f" (aim: under the lease of {tally.lease:g} s and 5 s)"
        ),
        "POSTs per job": f"{tally.posts / tally.jobs:.2f}",
    }
    for what, figure in rows.items():
        shown.add_row(what, figure)
    for name, count in sorted(tally.faults.items()):
        shown.add_row(f"  {name}", str(count))
    return shown


def show(tally: Tally) -> None:
    """Print the table."""
    Console().print(table(tally))
