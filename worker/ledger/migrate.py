"""Migrate the database to the newest schema, and record the oldest code that still works with it."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from worker.errors import SchemaMismatch
from worker.ledger import queries
from worker.ledger.schema_version import CodeSchema, Compatibility, DatabaseSchema, compatibility, describe

#: Alembic keeps its state in module globals: run one migration at a time in a process.
_at_work = threading.Lock()


def alembic_config(database_url: str, scripts: Path | None = None) -> Config:
    """Return Alembic's configuration (from pyproject.toml), in a checkout as well as in an installed wheel.

    `scripts` is a migrations folder to use instead of this code's own.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts or _own_scripts()).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str, revision: str = "head", *, scripts: Path | None = None) -> None:
    """Migrate up to that revision; one transaction for each migration."""
    with _at_work:
        command.upgrade(alembic_config(database_url, scripts), revision)


def downgrade(database_url: str, revision: str, *, scripts: Path | None = None) -> None:
    """Migrate down to that revision."""
    with _at_work:
        command.downgrade(alembic_config(database_url, scripts), revision)


@cache
def code_schema() -> CodeSchema:
    """Return the schema versions that this code knows. Cached: reading them loads all migrations."""
    directory = ScriptDirectory.from_config(alembic_config(""))
    newest = directory.get_current_head()
    assert newest is not None
    return CodeSchema(newest, frozenset(script.revision for script in directory.walk_revisions()))


def database_schema(engine: Engine) -> DatabaseSchema:
    """Return the database's schema version. Raises SQLAlchemy's errors if it can't be reached."""
    with engine.connect() as connection:
        return DatabaseSchema(queries.schema_version(connection), queries.oldest_code(connection))


def require_suitable(engine: Engine) -> DatabaseSchema:
    """Check that this code works with the database's schema, and return that schema.

    It is this code's own, or a newer one that still supports this code. Raises SchemaMismatch, whose message says what
    to do, and SQLAlchemy's errors if the database can't be reached.
    """
    database = database_schema(engine)
    if compatibility(code_schema(), database) in (Compatibility.SAME, Compatibility.NEWER):
        return database
    raise SchemaMismatch(describe(code_schema(), database))


def _own_scripts() -> Path:
    package = Path(__file__).parent.parent
    places = (package / "migrations", package.parent / "migrations")
    return next(place for place in places if (place / "env.py").is_file())


_KEEP = text(
    "INSERT INTO schema_support (id, oldest_code) VALUES (1, :oldest)"
    " ON CONFLICT (id) DO UPDATE SET oldest_code = EXCLUDED.oldest_code"
)


def keep_oldest_code(connection: Connection, oldest: str) -> None:
    """Record the oldest code version that works with the schema as it is now, in the migration's own transaction.

    A schema from before the table existed records nothing; all code of that time refuses any version but its own.
    """
    if connection.execute(text("SELECT to_regclass('schema_support')")).scalar() is not None:
        connection.execute(_KEEP, {"oldest": oldest})
