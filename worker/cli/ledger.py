"""Open the ledger for a command, with the right kind of connection; `case-worker migrate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import ArgumentError

from worker.errors import SchemaMismatch, SettingsError
from worker.ledger import migrate as schema
from worker.ledger.database import get_engine
from worker.ledger.migrate import require_suitable
from worker.ledger.schema_version import Compatibility, compatibility, describe
from worker.settings import Settings


def open_ledger() -> tuple[Settings, Engine]:
    """The settings and the ledger's engine. Raises SettingsError, SchemaMismatch, or DBAPIError if it is down."""
    settings = Settings.from_environment(needs=("DATABASE_URL",))
    engine = engine_of(settings)
    require_suitable(engine)
    return settings, engine


def engine_of(settings: Settings) -> Engine:
    """The engine, without checking the schema. Raises SettingsError for a URL that names no database."""
    try:
        return get_engine(settings.database_url)
    except (ArgumentError, ValueError):
        # The URL may contain a password, so don't show it.
        raise SettingsError(
            "DATABASE_URL should look like postgresql://USER:PASSWORD@HOST:PORT/NAME"
            " (in a password, write @ / : # as %40 %2F %3A %23)"
        ) from None


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Read from one snapshot, so that related numbers agree."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection:
        yield connection


@contextmanager
def page_by_page(engine: Engine) -> Iterator[Connection]:
    """Read without a transaction, so that none stays open while a user reads the first page."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


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
            # During a rollout, an older worker's container may restart, and it migrates first as well.
            click.echo(f"The schema is at version {before}, newer than this code's {code.newest}, and compatible.")
            return
    schema.upgrade(settings.database_url)
    after = schema.database_schema(engine).version
    if before == after:
        click.echo(f"The schema is already at version {after}; nothing to do.")
    else:
        click.echo(f"Schema migrated from version {before or 'none (an empty database)'} to version {after}.")
