"""Alembic's entry point: one transaction per migration, bounded waits, one migrator at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, pool, text

from worker.ledger.migrate import keep_oldest_code
from worker.ledger.models import Base
from worker.settings import Settings

#: Any constant will do, as long as all migrators of this package ask for the same one.
ADVISORY_LOCK = 4_207_849_484

config = context.config


def _wait_for_turn(connection: Connection) -> None:
    """Take the advisory lock, asking again and again in transactions of their own.

    Waiting inside one would keep a transaction open, and building an index concurrently waits for all of those: the
    migrator at work and the one that waits for it would wait for each other.
    """
    while True:
        got_it = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}).scalar()
        connection.commit()
        if got_it:
            return
        time.sleep(0.2)


def _oldest_code(scripts: ScriptDirectory, revision: str) -> str | None:
    """What the newest migration up to that one which says so declares as `oldest_code`."""
    for script in scripts.iterate_revisions(revision, "base"):
        if oldest := getattr(script.module, "oldest_code", None):
            return str(oldest)
    return None


def _keep_support(
    ctx: MigrationContext,
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001 - Alembic names its arguments
    run_args: Mapping[str, Any],  # noqa: ARG001
) -> None:
    """With each step up or down: which code the schema suits from now on."""
    connection, scripts = ctx.connection, ctx.script
    assert connection is not None
    assert scripts is not None
    for revision in step.destination_revision_ids:
        if oldest := _oldest_code(scripts, revision):
            keep_oldest_code(connection, oldest)


def run() -> None:
    """Migrate the database that DATABASE_URL names (or the URL that the caller put into the configuration)."""
    url = config.attributes.get("database_url") or Settings.from_environment(needs=("DATABASE_URL",)).database_url
    engine = create_engine(url, poolclass=pool.NullPool, connect_args={"connect_timeout": 5})
    with engine.connect() as connection:
        # A migration that cannot get its lock soon must give up rather than stop the live table behind it.
        connection.execute(text("SET lock_timeout = '4s'; SET statement_timeout = '0'"))
        connection.commit()
        _wait_for_turn(connection)
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            compare_type=True,
            compare_server_default=True,
            on_version_apply=_keep_support,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
