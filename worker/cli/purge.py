"""`case-worker purge`: removing the case data of jobs that are long done."""

from __future__ import annotations

from datetime import timedelta

import click

from worker.cli.actor import as_somebody, command_line_door, os_user, with_note
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import one_moment, open_ledger
from worker.cli.options import Since
from worker.cli.progress import progress
from worker.ledger.queries.sealing import due
from worker.ledger.writer.purge import Purged
from worker.ledger.writer.resolve import Actor
from worker.privacy.erase import purge as remove
from worker.report.formatting import counted


@click.command(short_help="Remove the case data of jobs that are long done.")
@click.option(
    "--older-than", type=Since(), metavar="AGE", required=True, help="Final for longer than this: 30m, 12h, 90d, 12w."
)
@click.option("--dry-run", is_flag=True, help="Only say how much would be removed.")
@as_somebody
@with_note
def purge(*, older_than: timedelta, dry_run: bool, actor: str | None, note: str | None) -> int:
    """Remove the case data of jobs that were submitted or discarded long ago: their cases, references and messages.

    The jobs themselves stay, with their states, attempts, dates, amounts and Debitura's case ids. The same case
    enqueued again still finds its job, and is not submitted a second time. It cannot be undone.
    """
    _, engine = open_ledger()
    age = older_than.total_seconds()
    with one_moment(engine) as connection:
        expected = due(connection, age=age)
    if dry_run:
        click.echo(f"{describe(expected)} would be purged")
        return DONE
    door = command_line_door()
    with progress("purging", expected.jobs) as tell:
        done, finished = remove(
            engine, age=age, actor=Actor(actor or os_user(), note), door=door,
            tell=lambda so_far: tell(so_far.jobs, describe(so_far)),
        )  # fmt: skip
    click.echo(f"{describe(done)} purged")
    return DONE if finished else WITH_FAILURES


def describe(amount: Purged) -> str:
    """`3 jobs`, `3 jobs and 1 unreadable message`."""
    messages = f" and {counted(amount.messages, 'unreadable message')}" if amount.messages else ""
    return f"{counted(amount.jobs, 'job')}{messages}"
