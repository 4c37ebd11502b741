"""`case-worker replay` and `case-worker discard`: acting on dead jobs."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import click
from sqlalchemy.exc import DBAPIError

from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import one_moment, open_ledger
from worker.cli.options import Words, filter_of, which_failures
from worker.cli.progress import progress
from worker.cli.trouble import database_trouble
from worker.ledger.queries import FailureFilter
from worker.ledger.writer.resolve import Actor
from worker.report.act import Action, Plan, Selection, Tally, Verb, plan
from worker.report.wording import counted

F = TypeVar("F", bound=Callable[..., Any])
_PAST = {Verb.REPLAY: "replayed", Verb.DISCARD: "discarded"}


def _selects_jobs(command: F) -> F:
    for option in (
        click.option("--as", "actor", type=Words(255), metavar="NAME", help="Who acts. Default: the OS user."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("--all", "everything", is_flag=True, help="All open failures (that the other options leave)."),
    ):
        command = option(command)
    return click.argument("job_ids", nargs=-1, type=click.UUID, metavar="[JOB_ID]...")(which_failures(command))


@click.command(short_help="Send dead jobs again.")
@_selects_jobs
@click.option("--note", type=Words(2000), metavar="TEXT", help="Why, for the audit log.")
def replay(
    *, job_ids: tuple[UUID, ...], everything: bool, dry_run: bool, actor: str | None, note: str | None, **which: Any
) -> int:
    """Send dead jobs again: by their ids, or all that fit the options.

    A job whose outcome is known gets a new submission key, since the API would answer the old one with the stored
    refusal. After an unknown outcome the key stays, and the case is looked up by its creditorReference first, so that
    no second case is made.
    """
    chosen = _selection(Verb.REPLAY, job_ids, everything=everything, **which)
    return _run(Verb.REPLAY, chosen, dry_run=dry_run, actor=actor, note=note, sure=True)


@click.command(short_help="Give dead jobs up for good.")
@_selects_jobs
@click.option("--note", type=Words(2000), metavar="TEXT", required=True, help="Why it is given up, for the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask, in a terminal, before all that fits the options is discarded.")
def discard(
    *, job_ids: tuple[UUID, ...], everything: bool, dry_run: bool, actor: str | None, note: str, yes: bool, **which: Any
) -> int:
    """Give dead jobs up for good: by their ids, or all that fit the options.

    With --reason malformed_message, or --all, also messages that could not be read.
    """
    chosen = _selection(Verb.DISCARD, job_ids, everything=everything, **which)
    sure = yes or bool(chosen.ids) or not (sys.stdin.isatty() and sys.stderr.isatty())
    return _run(Verb.DISCARD, chosen, dry_run=dry_run, actor=actor, note=note, sure=sure)


def _selection(
    verb: Verb, job_ids: tuple[UUID, ...], *, everything: bool, tenant: str | None, reason: str | None,
    invalid_links: bool, since: timedelta | None,
) -> Selection:  # fmt: skip
    wanted = filter_of(tenant=tenant, reason=reason, invalid_links=invalid_links, since=since)
    filtered = everything or wanted != FailureFilter()
    if job_ids and filtered:
        raise click.UsageError("give job ids, or options that select jobs, but not both")
    if not job_ids and not filtered:
        raise click.UsageError(
            f"nothing is selected: give job ids, or --tenant, --reason, --invalid-links, --since, or --all to {verb} "
            "every open failure"
        )
    return Selection(tuple(dict.fromkeys(job_ids)), wanted)


def _run(verb: Verb, chosen: Selection, *, dry_run: bool, actor: str | None, note: str | None, sure: bool) -> int:
    _, engine = open_ledger()
    with one_moment(engine) as connection:
        made = plan(connection, verb, chosen)
    if not made.tally.jobs and not made.tally.messages:
        click.echo(f"nothing to {verb}")
        return _list_skipped(made, made.skipped)
    if dry_run:
        click.echo(_in_words(f"would be {_PAST[verb]}", verb, made.tally))
        return _list_skipped(made, made.skipped)
    if not sure:
        click.confirm(f"{_in_words(f'will be {_PAST[verb]} for good', verb, made.tally)}. Go on?", abort=True, err=True)
    action = Action(made, verb, Actor(actor or os_user(), note), {"door": "command line", "os_user": os_user()})
    stopped = None
    total = made.tally.jobs + made.tally.messages
    with progress(str(verb), total) as tell:
        try:
            action.carry_out(engine, progress=lambda done: tell(done, f"{done} of {total}"))
        except DBAPIError as error:
            stopped = database_trouble(error)
        except KeyboardInterrupt:
            stopped = "stopped by the keyboard"
    click.echo(_in_words(_PAST[verb], verb, action.tally))
    code = _list_skipped(made, action.skipped)
    if stopped:
        click.echo(f"case-worker: {stopped}. What is counted above is done; run the same again for the rest.", err=True)
        return WITH_FAILURES
    return code


def _in_words(done: str, verb: Verb, tally: Tally) -> str:
    """E.g. `12 jobs of 3 tenants replayed: new key 9, same key with look-up first 2, same key 1`."""
    parts = []
    if tally.jobs or not tally.messages:
        parts.append(f"{counted(tally.jobs, 'job')} of {counted(tally.tenants, 'tenant')}")
    if tally.messages:
        parts.append(counted(tally.messages, "unreadable message"))
    text = f"{' and '.join(parts)} {done}"
    if verb is Verb.REPLAY and tally.jobs:
        text += f": new key {tally.new_key}, same key with look-up first {tally.looked_up}, same key {tally.same_key}"
    return text


def _list_skipped(made: Plan, skipped: Any) -> int:
    """List what was left out and why. A failure, unless only `--all` swept it up."""
    for item in skipped:
        click.echo(f"case-worker: skipped {item.what}: {item.why}", err=True)
    return WITH_FAILURES if skipped and (made.selection.ids or made.selection.wanted.reason) else DONE


def os_user() -> str:
    """Who runs this, as the operating system knows it (an environment variable could say anything)."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:  # a container often runs as a number without a name
        return f"uid {os.getuid()}"
