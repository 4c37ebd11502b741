"""`case-worker migrate`."""

from __future__ import annotations

import click
from alembic.util import CommandError

from worker.cli.ledger import engine_of
from worker.errors import SchemaMismatch
from worker.ledger import migrate as schema
from worker.ledger import queries
from worker.settings import Settings


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema.

    Safe to run again, and while workers run: each migration is one short transaction, and one that cannot get its
    lock within seconds gives up and changes nothing.
    """
    settings = Settings.from_environment(needs=("DATABASE_URL",))
    engine = engine_of(settings)
    with engine.connect() as connection:
        before = queries.schema_version(connection)
    try:
        schema.upgrade(settings.database_url)
    except CommandError:
        raise SchemaMismatch(
            f"the database's schema is at version {before}, which this code does not know: deploy the newer code"
        ) from None
    with engine.connect() as connection:
        after = queries.schema_version(connection)
    if before == after:
        click.echo(f"The schema is at version {after} already; nothing to do.")
    else:
        click.echo(f"Schema migrated from version {before or 'none (an empty database)'} to version {after}.")
