"""`case-worker audit verify`: prove that the audit log is unchanged."""

from __future__ import annotations

import re

import click

from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import one_moment, open_ledger
from worker.cli.options import progress
from worker.ledger.queries.audit import head
from worker.privacy.audit import verify as walk_chain
from worker.report.formatting import counted


class Hash(click.ParamType[bytes]):
    """A head hash that was saved elsewhere."""

    name = "hash"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Parse the 64 hexadecimal characters."""
        if isinstance(value, bytes):
            return value
        if not re.fullmatch(r"[0-9a-fA-F]{64}", str(value).strip()):
            self.fail("should be the 64 characters that an earlier `audit verify` printed", param, ctx)
        return bytes.fromhex(str(value).strip())


@click.group()
def audit() -> None:
    """Check the audit log."""


@audit.command(short_help="Prove that no entry was altered, removed or inserted.")
@click.option("--expect", type=Hash(), metavar="HASH", help="A head that you saved earlier; it must be in the chain.")
def verify(*, expect: bytes | None) -> int:
    """Verify the audit log's hash chain from the first entry, and print its head.

    Save the head elsewhere and pass it with --expect next time. Only this detects that the end was cut off, or that
    the whole chain was rebuilt.
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
