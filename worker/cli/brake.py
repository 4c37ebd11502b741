"""`case-worker brake`: what the brake holds the fleet for, accept its verdict, or let the fleet go on."""

from __future__ import annotations

import click

from worker.case.fields import one_line
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import one_moment, open_ledger
from worker.cli.options import as_actor, os_user, with_note
from worker.ledger.database import transaction
from worker.ledger.queries.waiting import fleet_waits
from worker.ledger.writer.brake import BrakeState, accept_verdict, release_brake
from worker.ledger.writer.resolve import Actor
from worker.policy.rate_limit import Pace
from worker.report.export import as_json
from worker.report.formatting import counted, moment
from worker.report.overview import brake_as_data

OFF = "The brake is off: nothing is stopped."


@click.group("brake", short_help="See and answer what stopped the fleet.", invoke_without_command=True)
@click.pass_context
def brake(context: click.Context) -> None:
    """When the same verdict meets many jobs of several tenants, the fleet stops: the API is at fault, not the jobs.

    It goes on by itself when a probe succeeds. If the verdict is right, accept it.
    """
    if context.invoked_subcommand is None:
        context.invoke(status)


@brake.command("status", short_help="Show what the brake holds the fleet for.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object or null, for programs.")
def status(*, json_wanted: bool = False) -> None:
    """Show the verdict that stopped the fleet, since when, and what waits."""
    settings, engine = open_ledger()
    with one_moment(engine) as connection:
        found = brake_as_data(fleet_waits(connection, Pace.parse(settings.rate_limits)))
    if json_wanted:
        click.echo(as_json(found))
    elif found is None:
        click.echo(OFF)
    else:
        click.echo(
            f"Stopped since {moment(found['since'])} by the verdict {_verdict(found['reason'], found['message'])}"
        )
        money = ", ".join(f"{total} {one_line(currency)}" for currency, total in found["amounts"].items())
        waiting = f"{counted(found['jobs'], 'job')} of {counted(found['tenants'], 'tenant')}"
        click.echo(f"Waiting: {waiting}{f' ({money})' if money else ''}. Probes so far: {found['probes']}.")


@brake.command("accept", short_help="Let the verdict count as each job's own for a day.")
@as_actor
@with_note
def accept(*, actor: str | None, note: str | None) -> int:
    """Say that the verdict is right: the fleet goes on, and for a day it counts as each job's own."""
    _, engine = open_ledger()
    with transaction(engine) as connection:
        state = accept_verdict(connection, Actor(actor or os_user(), note))
    return _tell(state, "Accepted")


@brake.command("release", short_help="Let the fleet go on; the same verdict may stop it again.")
@as_actor
@with_note
def release(*, actor: str | None, note: str | None) -> int:
    """Let the fleet go on at once. If the API still refuses everybody, the brake stops it again."""
    _, engine = open_ledger()
    with transaction(engine) as connection:
        state = release_brake(connection, Actor(actor or os_user(), note))
    return _tell(state, "Released")


def _tell(state: BrakeState | None, done: str) -> int:
    if state is None:
        click.echo(OFF)
        return WITH_FAILURES
    click.echo(f"{done}: {_verdict(state.reason, state.message)}. The fleet goes on.")
    return DONE


def _verdict(reason: str, message: str) -> str:
    return f"{reason} ({one_line(message)[:300]})"
