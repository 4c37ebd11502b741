"""`python -m tests.faults --minutes 10`: the long form of the fault tests. `FAULTS_SEED=…` repeats a run's faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import SystemRandom

PROJECT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "examples")]

import click  # noqa: E402 - the two folders above come first

from tests.support.faults.long_form import run, show  # noqa: E402
from tests.support.faults.rabbitmq import installed  # noqa: E402


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long to go on breaking things.")
@click.option("--broker", type=click.Choice(["valkey", "rabbitmq"]), default="valkey", show_default=True)
def main(minutes: float, broker: str) -> None:
    """Break everything, again and again, and check that no case is lost and none is submitted twice."""
    if broker == "rabbitmq" and installed() is None:
        raise click.UsageError("there is no rabbitmq-server on this machine")
    seed = os.environ.get("FAULTS_SEED") or str(SystemRandom().randrange(10**6))
    click.echo(f"FAULTS_SEED={seed}")
    try:
        tally = run(seed, minutes, over_amqp=broker == "rabbitmq", say=click.echo)
    except AssertionError as error:
        click.echo(
            f"\nThe invariant does not hold, or something did not settle (FAULTS_SEED={seed}):\n{error}", err=True
        )
        sys.exit(1)
    show(tally)


if __name__ == "__main__":
    main()
