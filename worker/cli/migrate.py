"""`case-worker migrate`."""

from __future__ import annotations

import click

from worker.cli.ledger import engine_of
from worker.errors import SchemaMismatch
from worker.ledger import migrate as schema
from worker.ledger.schema_version import Compatibility, compatibility, describe
from worker.settings import Settings


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema.

    Safe to run again, and while workers run: each migration is one short transaction, and one that cannot get its
    lock within seconds gives up and changes nothing.
    """
    settings = Settings.from_environment(needs=("DATABASE_URL",))
    engine = engine_of(settings)
    found = schema.database_schema(engine)
    before, code = found.version, schema.code_schema()
    match compatibility(code, found):
        case Compatibility.TOO_NEW:
            raise SchemaMismatch(describe(code, found))
        case Compatibility.NEWER:
            # An older worker's container that starts again in the middle of a rollout migrates first, too.
            click.echo(f"The schema is at version {before}, newer than this code's {code.newest}, and suits it.")
            return
    schema.upgrade(settings.database_url)
    after = schema.database_schema(engine).version
    if before == after:
        click.echo(f"The schema is at version {after} already; nothing to do.")
    else:
        click.echo(f"Schema migrated from version {before or 'none (an empty database)'} to version {after}.")
