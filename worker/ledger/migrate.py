"""Bringing the database to the newest schema, and saying where it stands."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from worker.errors import SchemaMismatch
from worker.ledger import queries


def alembic_config(database_url: str) -> Config:
    """Alembic's configuration (from pyproject.toml), in a checkout as well as in an installed wheel."""
    package = Path(__file__).parent.parent
    places = (package / "migrations", package.parent / "migrations")
    scripts = next(place for place in places if (place / "env.py").is_file())
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate up to that revision; one transaction for each migration."""
    command.upgrade(alembic_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Migrate down to that revision."""
    command.downgrade(alembic_config(database_url), revision)


def newest_revision(database_url: str) -> str:
    """The schema version that this code was written for."""
    head = ScriptDirectory.from_config(alembic_config(database_url)).get_current_head()
    assert head is not None
    return head


def require_newest(engine: Engine, database_url: str) -> str:
    """Check that the database is at this code's schema version, and return it. Raises SchemaMismatch."""
    with engine.connect() as connection:
        found = queries.schema_version(connection)
    newest = newest_revision(database_url)
    if found != newest:
        raise SchemaMismatch(
            f"the database's schema is at version {found or 'none'}, this code needs {newest}: run"
            " `case-worker migrate` (or, if the database is newer, deploy the newer code)"
        )
    return newest
