"""Turn expected errors into one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from sqlalchemy.exc import DBAPIError

from worker.case.fields import one_line
from worker.cli.server_errors import describe_database_error
from worker.errors import CaseWorkerError, JobNotFound
from worker.report.terminal import use_any_encoding

#: Exit codes of all commands.
DONE, WITH_FAILURES, WRONG_USE = 0, 1, 2


class OneLineErrors(click.Group):
    """A group whose commands return their exit code (None: 0), and whose errors are one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In order of first use, not alphabetically."""
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, **settings: Any) -> Any:  # type: ignore[override]  # click's is overloaded by standalone_mode
        """Run a command and exit with its code; takes the same arguments as click's method."""
        if not settings.pop("standalone_mode", True):
            return super().main(args, standalone_mode=False, **settings)
        use_any_encoding(sys.stdout)
        use_any_encoding(sys.stderr)
        try:
            code = super().main(args, standalone_mode=False, **({"prog_name": self.name} | settings))
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = WRONG_USE
        except BrokenPipeError:
            # The reader closed the pipe (as `| head` does); the interpreter must not try to write the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = WITH_FAILURES
        except (click.ClickException, click.Abort, CaseWorkerError, DBAPIError, OSError) as error:
            message, code = in_one_line(error)
            click.echo(f"case-worker: {message}", err=True)
        sys.exit(code or DONE)


def in_one_line(error: Exception) -> tuple[str, int]:
    """One line that says what went wrong and what to do, and the exit code."""
    match error:
        case click.Abort():
            return "stopped", WITH_FAILURES
        case click.UsageError():
            place = error.ctx.command_path if error.ctx else "case-worker"
            return f"{one_line(error.format_message())} ({place} --help shows more)", WRONG_USE
        case click.ClickException():
            return one_line(error.format_message()), WRONG_USE
        case JobNotFound():
            return one_line(str(error)), WITH_FAILURES
        case CaseWorkerError():
            return one_line(str(error)), WRONG_USE
        case DBAPIError():
            return describe_database_error(error), WRONG_USE
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return one_line(f"{place}{error.strerror or error}"), WRONG_USE
    return one_line(str(error)), WRONG_USE
