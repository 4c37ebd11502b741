"""`case-worker audit verify`: prove that the audit log is unchanged."""

from __future__ import annotations

import re

import click

from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger, snapshot
from worker.cli.options import progress
from worker.ledger.queries.audit import head
from worker.privacy.audit import verify as verify_chain
from worker.report.formatting import counted


class Hash(click.ParamType[bytes]):
    """A head hash that the user saved earlier."""

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
    with snapshot(engine) as connection:
        entries = head(connection).entries
        with progress("verifying", entries) as tell:
            result = verify_chain(
                connection, expected=expect, tell=lambda done, total: tell(done, f"{done} of {total} entries")
            )
    for problem in result.problems:
        click.echo(f"case-worker: {problem}", err=True)
    if result.problems:
        return WITH_FAILURES
    since = f"; the expected head is entry {result.met_at}" if expect else ""
    click.echo(f"{counted(result.position, 'entry')} verified{since}")
    click.echo(f"head {result.hash.hex()}")
    return DONE
