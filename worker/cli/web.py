"""`case-worker web` and `case-worker hash-password`: serve the report as a web page, and make its users."""

from __future__ import annotations

import os
import sys

import click

from worker.cli.ledger import engine_of
from worker.cli.options import os_user
from worker.errors import SettingsError
from worker.ledger.migrate import require_suitable
from worker.report.web.passwords import hash_password
from worker.report.web.people import Role, User, parse_users
from worker.report.web.serve import serve
from worker.settings import Settings
from worker.telemetry.logging import configure_logs, log_uncaught


@click.command(short_help="Serve the failed-job report as a web page.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="0: any free one.")
def web(*, host: str, port: int) -> None:
    """Serve the failed-job report as a web page, with /healthz, /readyz and /metrics.

    Without REPORT_USERS it listens on loopback only, and anyone on this machine may use it.
    """
    settings = Settings.from_environment(needs=("DATABASE_URL",))
    engine = engine_of(settings)
    require_suitable(engine)
    configure_logs()
    log_uncaught()
    serve(settings, engine, os.environ, host=host, port=port, local_name=os_user(), tell=_print_line)


def _print_line(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


@click.command("hash-password", short_help="Make an entry for REPORT_USERS.")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="viewer", show_default=True)
def hash_password_for(*, name: str, role: str) -> None:
    """Make an entry for REPORT_USERS: ask for a password, or read it from standard input, and print the entry.

    The password is not stored. Separate several entries with spaces, commas or line breaks.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        entry = f"{name}:{role}:{hash_password(password)}"
    except ValueError as error:
        raise click.UsageError(f"the password {error}") from None
    if name not in _read_back(entry):
        raise click.UsageError("a name has 1 to 100 characters, without white space, commas or colons")
    click.echo(entry)


def _read_back(entry: str) -> dict[str, User]:
    """The users in that entry; empty if it can't be parsed."""
    try:
        return parse_users(entry)
    except SettingsError:
        return {}
