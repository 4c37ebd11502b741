"""Who runs a command, and for whom and why: for the audit log."""

from __future__ import annotations

import getpass
import os

import click

from worker.cli.options import Words

as_somebody = click.option("--as", "actor", type=Words(255), metavar="NAME", help="Who acts. Default: the OS user.")
with_note = click.option("--note", type=Words(2000), metavar="TEXT", help="Why, for the audit log.")


def os_user() -> str:
    """Who runs this, as the operating system knows it (an environment variable could say anything)."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:  # a container often runs as a number without a name
        return f"uid {os.getuid()}"


def command_line_door() -> dict[str, str]:
    """The way by which something was done, for the audit log: it names the OS user, whoever is said to act."""
    return {"door": "command line", "os_user": os_user()}
