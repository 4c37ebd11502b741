"""`case-worker audit verify`: proving that the audit log is as it was written."""

from __future__ import annotations

import re

import click

from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import one_moment, open_ledger
from worker.cli.progress import progress
from worker.ledger.queries.audit import head
from worker.privacy.audit import verify as walk_chain
from worker.report.formatting import counted


class Hash(click.ParamType[bytes]):
    """A head that was kept elsewhere."""

    name = "hash"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The 32 bytes."""
        if isinstance(value, bytes):
            return value
        if not re.fullmatch(r"[0-9a-fA-F]{64}", str(value).strip()):
            self.fail("should be the 64 characters that an earlier `audit verify` printed", param, ctx)
        return bytes.fromhex(str(value).strip())


@click.group()
def audit() -> None:
    """Look after the audit log."""


@audit.command(short_help="Prove that no entry was altered, taken out or slipped in.")
@click.option("--expect", type=Hash(), metavar="HASH", help="A head that you kept: it has to be in the chain.")
def verify(*, expect: bytes | None) -> int:
    """Walk the chain of the audit log from its first entry, and print its head.

    Keep the head elsewhere and give it back with --expect: only so is it found that the end was cut off, or that
    somebody has made the whole chain again.
    """
    _, engine = open_ledger()
    with one_moment(engine) as connection:
        entries = head(connection).entries
        with progress("verifying", entries) as tell:
            walk = walk_chain(
                connection, expected=expect, tell=lambda done, total: tell(done, f"{done} of {total} entries")
            )
    for problem in walk.problems:
        click.echo(f"case-worker: {problem}", err=True)
    if walk.problems:
        return WITH_FAILURES
    since = f"; the head that you expect is entry {walk.met_at} of it" if expect else ""
    click.echo(f"{counted(walk.position, 'entry')} as they were written{since}")
    click.echo(f"head {walk.hash.hex()}")
    return DONE
