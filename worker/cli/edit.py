"""`case-worker edit`: correct the case of a job that the API rejected, and send it again."""

from __future__ import annotations

from typing import Any, BinaryIO
from uuid import UUID

import click
import simplejson

from worker.case.codec import MAX_CASE_BYTES, read_json
from worker.case.fields import one_line
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger
from worker.cli.options import as_actor, command_line_channel, os_user, with_note
from worker.errors import InvalidCase, WrongState
from worker.ledger.database import transaction
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.ledger.writer.resolve import Actor
from worker.report.edit import MISSING, Change, correct, differences, draft


@click.command(short_help="Correct a rejected case and send it again.")
@click.argument("job_id", type=click.UUID)
@click.option(
    "--file", type=click.File("rb"), metavar="FILE", help="The corrected case as JSON; `-` is standard input."
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@as_actor
@with_note
def edit(*, job_id: UUID, file: BinaryIO | None, dry_run: bool, actor: str | None, note: str | None) -> int:
    """Correct the case of a job that failed validation, and send it again under a new submission key.

    Without --file, print the current case, to be corrected. Printing it is recorded in the audit log, and so is a dry
    run, which shows what would change. The old case is kept.
    """
    settings, engine = open_ledger()
    protection = settings.protection
    who, channel = Actor(actor or os_user(), note), command_line_channel()
    with transaction(engine) as connection:
        now = draft(connection, job_id, protection)
        # The differences that a dry run shows contain the old values.
        if now.case and (file is None or dry_run):
            audit(connection, AuditAction.REVEAL, who, channel, job_id=job_id)
    if file is None and not now.case:
        click.echo(f"case-worker: the case of job {job_id} was removed, so it cannot be corrected", err=True)
        return WITH_FAILURES
    if file is None:
        click.echo(simplejson.dumps(now.case, use_decimal=True, ensure_ascii=False, indent=2))
        for path, errors in (now.errors | now.other_errors).items():
            click.echo(f"{one_line(path)}: {one_line(', '.join(errors))}", err=True)
        return DONE
    try:
        case = read_json(file.read(2 * MAX_CASE_BYTES), where="case")
        if dry_run:
            _show(differences(now.case, case))
            if now.refused:
                raise WrongState(now.refused)  # noqa: TRY301 - the same message as for a real attempt
            return DONE
        with transaction(engine) as connection:
            made = correct(
                connection, job_id, case, seen=now.version.number, actor=who, detail=channel, protection=protection
            )
    except (InvalidCase, WrongState) as error:
        click.echo(f"case-worker: {one_line(str(error))}", err=True)
        return WITH_FAILURES
    _show(made.changes)
    click.echo(f"job {job_id} corrected (version {made.version}) and replayed")
    return DONE


def _show(changes: list[Change]) -> None:
    for change in changes:
        click.echo(f"{one_line(change.path) or 'case'}: {_value(change.old)} → {_value(change.new)}")


def _value(value: Any) -> str:
    return "nothing" if value is MISSING else one_line(simplejson.dumps(value, use_decimal=True, ensure_ascii=False))
