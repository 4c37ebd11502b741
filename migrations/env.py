"""Alembic's entry point: one transaction per migration, bounded waits, one migrator at a time."""

from __future__ import annotations

import time

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

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
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
