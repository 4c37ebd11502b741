"""`case-worker export`, `erase` and `purge`: hand out or remove personal data."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import click

from worker.case.fields import one_line
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger, page_by_page, snapshot
from worker.cli.options import Since, Words, as_actor, command_line_channel, os_user, progress, with_note
from worker.cli.report import open_output
from worker.ledger.database import transaction
from worker.ledger.queries.cases import due
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.ledger.writer.purge import Purged
from worker.ledger.writer.resolve import Actor
from worker.privacy.erase import Erasure, look
from worker.privacy.erase import erase as erase_found
from worker.privacy.erase import purge as purge_due_jobs
from worker.privacy.export import export as write_out
from worker.privacy.subject import Subject
from worker.report.export import plain
from worker.report.formatting import counted

_tenant = click.option("--tenant", type=Words(255), required=True, metavar="TENANT", help="The externalTenantId.")
_reference = click.option("--reference", type=Words(1000), metavar="REF", help="Only this creditorReference.")


@click.command(short_help="Export everything stored about a tenant or reference.")
@_tenant
@_reference
@click.option("--output", type=click.Path(dir_okay=False), required=True, metavar="FILE", help="`-`: standard output.")
@as_actor
@with_note
def export(*, tenant: str, reference: str | None, output: str, actor: str | None, note: str | None) -> int:
    """Export everything stored about a tenant's jobs, or those with one reference, as JSON.

    This includes all versions of the cases, attempts, dead letters, audit entries, and messages that could not be read.
    The file contains personal data and is readable by its owner only.
    """
    settings, engine = open_ledger()
    heading = {"tenant": tenant, "reference": reference, "exported_at": datetime.now(UTC)}
    subject, protection = Subject(tenant, reference), settings.protection
    with transaction(engine) as connection:
        audit(connection, AuditAction.EXPORT, Actor(actor or os_user(), note), command_line_channel() | _named(subject))
    with page_by_page(engine) as connection, open_output(output) as out, progress("exporting", None) as tell:
        done = write_out(
            connection, subject, protection, out, heading=heading, plain=plain,
            tell=lambda so_far: tell(so_far.jobs, counted(so_far.jobs, "job")),
        )  # fmt: skip
    messages = f" and {counted(done.messages, 'unreadable message')}" if done.messages else ""
    click.echo(f"{counted(done.jobs, 'job')}{messages} exported", err=output == "-")
    if done.unsure:
        click.echo(
            f"case-worker: the cases of {counted(done.unsure, 'job')} cannot be decrypted and are not included: their"
            " key is missing (case-worker rekey --dry-run shows which), or they were altered",
            err=True,
        )
    return WITH_FAILURES if done.unsure else DONE


@click.command(short_help="Erase the case data of a tenant or reference.")
@_tenant
@_reference
@click.option("--dry-run", is_flag=True, help="Only show what would be erased.")
@click.option("--note", type=Words(2000), required=True, metavar="TEXT", help="Why, for the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation in a terminal.")
@as_actor
def erase(*, tenant: str, reference: str | None, dry_run: bool, note: str, yes: bool, actor: str | None) -> int:
    """Erase the case data of a tenant's jobs, or those with one reference, as `purge` does, regardless of age.

    Dead jobs are discarded first. Jobs that may still be submitted are not erased, but listed. This cannot be undone.
    """
    settings, engine = open_ledger()
    subject = Subject(tenant, reference)
    with snapshot(engine) as connection:
        found = look(connection, subject, settings.protection)
    jobs = len(found.final) + len(found.dead)
    words = f"{counted(jobs, 'job')} ({len(found.dead)} of them dead), {counted(len(found.messages), 'message')}"
    if dry_run:
        click.echo(f"{words} would be erased; {found.erased_before} erased before")
        return _list_left(found)
    if not yes and jobs and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"{words} will be erased permanently. Continue?", abort=True, err=True)
    erased = erase_found(
        engine, found, actor=Actor(actor or os_user(), note), door=command_line_channel(), subject=_named(subject)
    )
    click.echo(
        f"{counted(erased, 'job')} and {counted(len(found.messages), 'message')} erased;"
        f" {found.erased_before} erased before"
    )
    return _list_left(found)


def _list_left(found: Erasure) -> int:
    """List what was not erased, why, and what to do."""
    lines = [
        f"job {job} is {state} and may still be submitted: erase it when it is done" for job, state in found.under_way
    ]
    lines += [f"job {job}: {one_line(why)}" for job, why in found.unsure]
    lines += [f"job {job} was just changed by another process: run this again" for job in found.late]
    for line in lines:
        click.echo(f"case-worker: not erased: {line}", err=True)
    return WITH_FAILURES if lines else DONE


def _named(subject: Subject) -> dict[str, Any]:
    """The subject, for the audit log. A reference is stored as a digest, because audit entries can't be erased."""
    digest = sha256(subject.reference.encode()).hexdigest() if subject.reference else None
    return {"tenant": subject.tenant, "reference_sha256": digest}


@click.command(short_help="Remove the case data of old finished jobs.")
@click.option(
    "--older-than", type=Since(), metavar="AGE", required=True, help="Final for longer than this: 30m, 12h, 90d, 12w."
)
@click.option("--dry-run", is_flag=True, help="Only show how much would be removed.")
@as_actor
@with_note
def purge(*, older_than: timedelta, dry_run: bool, actor: str | None, note: str | None) -> int:
    """Remove the case data of jobs that were submitted or discarded long ago: their cases, references and messages.

    The jobs stay, with their states, attempts, dates, amounts and Debitura's case ids. If the same case is enqueued
    again, it still finds its job and is not submitted a second time. This cannot be undone.
    """
    _, engine = open_ledger()
    age = older_than.total_seconds()
    with snapshot(engine) as connection:
        expected = due(connection, age=age)
    if dry_run:
        click.echo(f"{_describe(expected)} would be purged")
        return DONE
    channel = command_line_channel()
    with progress("purging", expected.jobs) as tell:
        done, finished = purge_due_jobs(
            engine, age=age, actor=Actor(actor or os_user(), note), door=channel,
            tell=lambda so_far: tell(so_far.jobs, _describe(so_far)),
        )  # fmt: skip
    click.echo(f"{_describe(done)} purged")
    return DONE if finished else WITH_FAILURES


def _describe(amount: Purged) -> str:
    """`3 jobs`, `3 jobs and 1 unreadable message`."""
    messages = f" and {counted(amount.messages, 'unreadable message')}" if amount.messages else ""
    return f"{counted(amount.jobs, 'job')}{messages}"
