"""Which code a migrated database still suits: written with each migration, read by every process at its start."""

from __future__ import annotations

from sqlalchemy import Connection, text

_KEEP = text(
    "INSERT INTO schema_support (id, oldest_code) VALUES (1, :oldest)"
    " ON CONFLICT (id) DO UPDATE SET oldest_code = EXCLUDED.oldest_code"
)


def keep_oldest_code(connection: Connection, oldest: str) -> None:
    """Note the oldest code version that works with the schema as it is now, in the migration's own transaction.

    A schema from before the table existed says nothing; all code of that time refuses any other version than its own.
    """
    if connection.execute(text("SELECT to_regclass('schema_support')")).scalar() is not None:
        connection.execute(_KEEP, {"oldest": oldest})
