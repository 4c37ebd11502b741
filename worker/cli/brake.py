"""`case-worker brake`: show why the brake stopped the fleet, accept its verdict, or release it."""

from __future__ import annotations

import click

from worker.case.fields import one_line
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger, snapshot
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


@click.group("brake", short_help="Show or release the brake that stopped the fleet.", invoke_without_command=True)
@click.pass_context
def brake(context: click.Context) -> None:
    """The brake stops the fleet when many jobs of several tenants get the same verdict: then the API is at fault.

    The fleet continues by itself when a probe succeeds. If the verdict is right, accept it.
    """
    if context.invoked_subcommand is None:
        context.invoke(status)


@brake.command("status", short_help="Show why the brake stopped the fleet.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object or null, for programs.")
def status(*, json_wanted: bool = False) -> None:
    """Show the verdict that stopped the fleet, since when, and how many jobs wait."""
    settings, engine = open_ledger()
    with snapshot(engine) as connection:
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


@brake.command("accept", short_help="Apply the verdict to each job for a day.")
@as_actor
@with_note
def accept(*, actor: str | None, note: str | None) -> int:
    """Accept the verdict as right: the fleet continues, and for a day the verdict applies to each job."""
    _, engine = open_ledger()
    with transaction(engine) as connection:
        state = accept_verdict(connection, Actor(actor or os_user(), note))
    return _print_result(state, "Accepted")


@brake.command("release", short_help="Continue; the same verdict may stop the fleet again.")
@as_actor
@with_note
def release(*, actor: str | None, note: str | None) -> int:
    """Continue at once. If the API still rejects all tenants, the brake stops the fleet again."""
    _, engine = open_ledger()
    with transaction(engine) as connection:
        state = release_brake(connection, Actor(actor or os_user(), note))
    return _print_result(state, "Released")


def _print_result(state: BrakeState | None, done: str) -> int:
    if state is None:
        click.echo(OFF)
        return WITH_FAILURES
    click.echo(f"{done}: {_verdict(state.reason, state.message)}. The fleet continues.")
    return DONE


def _verdict(reason: str, message: str) -> str:
    return f"{reason} ({one_line(message)[:300]})"
