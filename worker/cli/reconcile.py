"""`case-worker reconcile`: after a restore from a backup, before the workers start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Engine

from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger, snapshot
from worker.cli.options import Since, as_actor, command_line_channel, os_user, with_note
from worker.errors import WrongState
from worker.ledger.database import transaction
from worker.ledger.queries.restores import ToReconcile, leader, newest_entry, to_reconcile
from worker.ledger.states import State
from worker.ledger.writer.reconcile import OPEN_STATES, mark_some, note_absent, note_restore
from worker.ledger.writer.resolve import Actor
from worker.report.formatting import counted, moment, parse_age


class Moment(click.ParamType[datetime]):
    """A point in time: ISO 8601 (UTC if there is no zone), or an age such as 2h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse the time, in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.now(UTC) - parse_age(value)
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail("should look like 2026-05-31T14:00:00Z, or 90m, 2h, 1d", param, ctx)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


@click.command(short_help="After a restore from a backup: look up before sending.")
@click.option(
    "--since", type=Moment(), metavar="TIME",
    help="The time of the backup. Default: the newest entry in the ledger.",
)  # fmt: skip
@click.option(
    "--look-up-new", type=Since(), default="24h", show_default=True, metavar="AGE",
    help="For how long new jobs are also looked up before sending.",
)  # fmt: skip
@click.option(
    "--absent", multiple=True, type=click.UUID, metavar="JOB_ID",
    help="Instead: record that this dead job's case was searched for in Debitura and is not there. Repeatable.",
)  # fmt: skip
@with_note
@as_actor
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
def reconcile(
    *, since: datetime | None, look_up_new: timedelta, absent: tuple[UUID, ...], note: str | None, actor: str | None,
    dry_run: bool,
) -> int:  # fmt: skip
    """Make a restored ledger safe to use. Run this after the restore and before any worker starts.

    A restored ledger doesn't know what happened since the backup: a job that waits in it may have been submitted. So
    every job that may still be sent is marked: its case is looked up by creditorReference before anything is sent. If
    found, it is recorded as submitted; if not, it is sent. A case without a creditorReference can't be looked up, and
    goes to a person as outcome_unknown.

    Cases enqueued since the backup are missing from the ledger: enqueue them again. For a day, new jobs are also looked
    up first. You can run this again; marked jobs stay marked.
    """
    who = Actor(actor or os_user(), note)
    _, engine = open_ledger()
    if absent:
        return _absent(engine, absent, who, dry_run=dry_run)
    with snapshot(engine) as connection:
        running, found, newest = leader(connection), to_reconcile(connection), newest_entry(connection)
    if running:
        raise WrongState(f"the dispatcher of {running} is running: stop all workers, then reconcile, then start them")
    since = since or newest
    click.echo(f"The ledger was restored to {moment(since)}." if since else "The ledger is empty.")
    _print_summary(found, "would be" if dry_run else "will be")
    if dry_run:
        return DONE
    with transaction(engine) as connection:
        until = note_restore(connection, restored_to=since, look_up=look_up_new.total_seconds(), actor=who)
    detail = {"restored_to": since.isoformat() if since else None} | command_line_channel()
    marked = sum(_mark_all(engine, state, who, detail) for state in OPEN_STATES)
    click.echo(f"{counted(marked, 'job')} marked. Until {moment(until)}, new jobs are also looked up first.")
    click.echo(
        f"Now start the workers, and enqueue again everything enqueued since {moment(since)}: those cases are missing"
        " from the ledger."
        if since
        else "Now start the workers, and enqueue again everything enqueued before."
    )
    return DONE


def _mark_all(engine: Engine, state: State, actor: Actor, detail: dict[str, Any]) -> int:
    """Mark in small transactions, so that it can be interrupted and run again."""
    total = 0
    while True:
        with transaction(engine) as connection:
            marked = mark_some(connection, state, actor, detail)
        if not marked:
            return total
        total += marked


def _print_summary(found: list[ToReconcile], verb: str) -> None:
    jobs = sum(part.jobs for part in found)
    parts = ", ".join(f"{part.jobs} {part.state}" for part in found if part.jobs)
    click.echo(f"{counted(jobs, 'job')} {verb} looked up before sending{f' ({parts})' if parts else ''}.")
    if unclear := sum(part.without_reference for part in found):
        click.echo(
            f"{unclear} of them have no readable creditorReference. If the case has none either, a person must look"
            " for it in Debitura."
        )
    if marked := sum(part.marked for part in found):
        click.echo(f"{marked} of them are already marked.")


def _absent(engine: Engine, ids: tuple[UUID, ...], actor: Actor, *, dry_run: bool) -> int:
    if actor.note is None:
        raise click.UsageError("--absent needs a --note that says how you checked")
    wanted = list(dict.fromkeys(ids))
    if dry_run:
        click.echo(
            f"{counted(len(wanted), 'job')} would be recorded as absent at the API, if dead and marked for a look-up."
        )
        return DONE
    with transaction(engine) as connection:
        noted = set(note_absent(connection, wanted, actor, command_line_channel()))
    for job in wanted:
        if job not in noted:
            click.echo(f"case-worker: skipped {job}: it is not a dead job marked for a look-up", err=True)
    click.echo(f"{counted(len(noted), 'job')} recorded as absent at the API. A replay sends them.")
    return DONE if len(noted) == len(wanted) else WITH_FAILURES
