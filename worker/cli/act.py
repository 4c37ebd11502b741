"""`case-worker replay` and `case-worker discard`: act on dead jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4

import click
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from worker.case.fields import one_line
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger, snapshot
from worker.cli.options import (
    Words,
    as_actor,
    command_line_channel,
    filter_of,
    os_user,
    progress,
    warn_about_encrypted_fields,
    which_failures,
    with_note,
)
from worker.cli.server_errors import describe_database_error
from worker.errors import SelectionChanged
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter
from worker.ledger.states import ItemOutcome, OperationState, Verb
from worker.ledger.writer.operations import cancel
from worker.ledger.writer.resolve import Actor
from worker.ledger.writer.resolve import discard as discard_jobs
from worker.ledger.writer.tenant_links import CHUNK, held_jobs
from worker.report.formatting import counted
from worker.report.operations import Chunk, run, start
from worker.report.preview import PAST, Preview, preview
from worker.report.tally import Tally

F = TypeVar("F", bound=Callable[..., Any])


def _selects_jobs(command: F) -> F:
    for option in (
        as_actor,
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        click.option("--all", "everything", is_flag=True, help="All open failures (that match the other options)."),
    ):
        command = option(command)
    return click.argument("job_ids", nargs=-1, type=click.UUID, metavar="[JOB_ID]...")(which_failures(command))


@click.command(short_help="Send dead jobs again.")
@_selects_jobs
@with_note
@click.option(
    "--canary", is_flag=True, help="One job first, then five, then the rest; stop as soon as one of them dies again."
)
@click.option(
    "--confirmed-absent", is_flag=True,
    help="You have looked in Debitura: the cases that only a person can look for are not there. Needs --note.",
)  # fmt: skip
def replay(
    *, job_ids: tuple[UUID, ...], everything: bool, dry_run: bool, actor: str | None, note: str | None, canary: bool,
    confirmed_absent: bool, **which: Any,
) -> int:  # fmt: skip
    """Send dead jobs again: by id, or all that match the options.

    A job whose outcome is known gets a new submission key, because the API would repeat the stored rejection for the
    old one. After an unknown outcome the key stays the same, and the case is first looked up by its creditorReference,
    so that no second case is created.

    If neither protects from a second case (no creditorReference, and a key too old to be trusted), look in Debitura; if
    the case is not there, --confirmed-absent sends it under a new key.

    With --canary the command waits for the first jobs to finish, so workers must be running.
    """
    wanted = _selection(Verb.REPLAY, job_ids, everything=everything, **which)
    if confirmed_absent and not (note or "").strip():
        raise click.UsageError("--confirmed-absent needs a --note that says how it is known")
    return _act(
        Verb.REPLAY, wanted, dry_run=dry_run, actor=Actor(actor or os_user(), note), sure=True, canary=canary,
        confirmed_absent=confirmed_absent,
    )  # fmt: skip


@click.command(short_help="Discard dead jobs permanently.")
@_selects_jobs
@click.option("--note", type=Words(2000), metavar="TEXT", required=True, help="The reason, for the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation in a terminal.")
@click.option("--held", is_flag=True, help="Held jobs instead: by id, or all of --tenant (its client link is invalid).")
def discard(
    *, job_ids: tuple[UUID, ...], everything: bool, dry_run: bool, actor: str | None, note: str, yes: bool, held: bool,
    **which: Any,
) -> int:  # fmt: skip
    """Discard dead jobs permanently: by id, or all that match the options.

    With --reason malformed_message or --all, this includes messages that could not be read.
    """
    if held:
        return _discard_held(job_ids, which.get("tenant"), Actor(actor or os_user(), note), dry_run=dry_run, sure=yes)
    wanted = _selection(Verb.DISCARD, job_ids, everything=everything, **which)
    sure = yes or bool(wanted.jobs) or not (sys.stdin.isatty() and sys.stderr.isatty())
    return _act(Verb.DISCARD, wanted, dry_run=dry_run, actor=Actor(actor or os_user(), note), sure=sure, canary=False)


def _discard_held(job_ids: tuple[UUID, ...], tenant: str | None, actor: Actor, *, dry_run: bool, sure: bool) -> int:
    if bool(job_ids) == bool(tenant):
        raise click.UsageError("--held needs job ids or --tenant, and not both")
    _, engine = open_ledger()
    with snapshot(engine) as connection:
        found = held_jobs(connection, tenant=tenant, ids=job_ids)
    if dry_run or not found:
        click.echo(f"{counted(len(found), 'held job')} would be discarded" if found else "nothing to discard")
        return DONE
    if not sure and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(
            f"{counted(len(found), 'held job')} will be discarded permanently. Continue?", abort=True, err=True
        )
    done = 0
    for first in range(0, len(found), CHUNK):
        with transaction(engine) as connection:
            done += len(discard_jobs(connection, found[first : first + CHUNK], actor, command_line_channel()))
    click.echo(f"{counted(done, 'held job')} discarded")
    return DONE if done == len(found) else WITH_FAILURES


def _selection(verb: Verb, job_ids: tuple[UUID, ...], *, everything: bool, **which: Any) -> FailureFilter:
    wanted = filter_of(**which)
    filtered = everything or wanted != FailureFilter()
    if job_ids and filtered:
        raise click.UsageError("give job ids, or options that select jobs, but not both")
    if not job_ids and not filtered:
        raise click.UsageError(
            f"nothing is selected: give job ids, or --tenant, --reason, --invalid-links, --since or another option that"
            f" selects jobs, or --all to {verb} every open failure"
        )
    return FailureFilter(jobs=tuple(dict.fromkeys(job_ids))) if job_ids else wanted


def _act(
    verb: Verb,
    wanted: FailureFilter,
    *,
    dry_run: bool,
    actor: Actor,
    sure: bool,
    canary: bool,
    confirmed_absent: bool = False,
) -> int:
    settings, engine = open_ledger()
    warn_about_encrypted_fields(settings, wanted)
    with snapshot(engine) as connection:
        made = preview(connection, verb, wanted)
    if not made.count:
        click.echo(f"nothing to {verb}")
        return _list_skipped(made, [])
    expected = Tally.of(made)
    if dry_run:
        click.echo(expected.describe(verb, f"would be {PAST[verb]}"))
        return _list_skipped(made, [])
    if not sure:
        click.confirm(
            f"{expected.describe(verb, f'will be {PAST[verb]} permanently')}. Continue?", abort=True, err=True
        )
    lease = uuid4()
    try:
        with transaction(engine) as connection:
            channel = command_line_channel()
            number = start(
                connection, made.token, actor=actor, channel=channel, canary=canary,
                confirmed_absent=confirmed_absent, lease=lease,
            )  # fmt: skip
    except SelectionChanged as error:
        click.echo(f"case-worker: {one_line(str(error))}", err=True)
        return WITH_FAILURES
    return _run(engine, made, number, lease, actor)


def _run(engine: Engine, made: Preview, number: int, lease: UUID, actor: Actor) -> int:
    """Run the operation in this process, and print the result."""
    tally, late, stopped = Tally(), list[str](), None
    with progress(str(made.verb), made.count) as tell:

        def watch(chunk: Chunk) -> None:
            tally.add(chunk)
            late.extend(
                f"{item.job_id}: {item.why}"
                for item in chunk.items
                if item.outcome is ItemOutcome.SKIPPED and item.job_id
            )
            tell(tally.seen, f"{tally.seen} of {made.count}")

        try:
            run(engine, number, lease=lease, watch=watch)
        except DBAPIError as error:
            stopped = f"{describe_database_error(error)}. Run the same command again for the rest"
        except KeyboardInterrupt:
            with transaction(engine) as connection:
                cancel(connection, number, actor, command_line_channel())
            run(engine, number, lease=lease)
            stopped = "interrupted. Run the same command again for the rest"
    click.echo(tally.describe(made.verb, PAST[made.verb]))
    if stopped is None:
        with snapshot(engine) as connection:
            ended = queries.operation(connection, number)
        if ended.state == OperationState.RUNNING:
            stopped = f"operation {number} continues in another process"
        elif ended.state != OperationState.DONE:
            stopped = f"operation {number}: {one_line(ended.message or ended.state)}"
    code = _list_skipped(made, late)
    if stopped:
        click.echo(f"case-worker: {stopped}. The counts above are done.", err=True)
        return WITH_FAILURES
    return code


def _list_skipped(made: Preview, late: list[str]) -> int:
    """List what was skipped and why. Counts as a failure only if the jobs or the reason were selected explicitly."""
    skipped = [f"{item.what}: {item.why}" for item in made.skipped] + late
    for line in skipped:
        click.echo(f"case-worker: skipped {line}", err=True)
    return WITH_FAILURES if skipped and (made.wanted.jobs or made.wanted.reason) else DONE
