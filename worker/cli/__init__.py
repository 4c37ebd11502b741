"""The command `case-worker`. Each module holds one group of commands; `worker.report` has their logic."""

from __future__ import annotations

import click

from worker.cli import (
    act,
    alerts,
    audit,
    brake,
    doctor,
    edit,
    enqueue,
    keys,
    ledger,
    reconcile,
    report,
    status,
    subject,
    web,
)
from worker.cli.group import OneLineErrors
from worker.sandbox.__main__ import main as sandbox

__all__ = ["main"]

EPILOG = """\b
Settings come from the environment (DATABASE_URL, REDIS_URL, DEBITURA_API_KEY and others);
`case-worker doctor` checks them. Exit codes: 0 done, 1 done with failures that are listed,
2 wrong use or wrong settings."""


@click.group("case-worker", cls=OneLineErrors, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="case-worker", prog_name="case-worker", message="%(prog)s %(version)s")
def main() -> None:
    """Submit debt-collection cases to Debitura exactly once, and handle those that need a person."""


for command in (
    ledger.migrate,
    enqueue.enqueue,
    status.status,
    status.show,
    report.report,
    act.replay,
    act.discard,
    edit.edit,
    subject.purge,
    subject.export,
    subject.erase,
    keys.make_key,
    keys.rekey,
    audit.audit,
    brake.brake,
    web.web,
    web.hash_password_for,
    alerts.alerts,
    doctor.doctor,
    reconcile.reconcile,
    status.tenant_digest_of,
):
    main.add_command(command)
main.add_command(sandbox, "sandbox")
