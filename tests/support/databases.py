"""A test database and its URLs."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from sqlalchemy import Engine

#: The name of the migrated database that each test's own is copied from.
TEMPLATE = "ledger_template"


@dataclass(frozen=True)
class Database:
    """One migrated, empty database."""

    url: str
    """As in DATABASE_URL: postgresql://…"""
    engine: Engine

    def rows(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run a statement (with %s for parameters) and return its rows, if any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: object) -> object:
        """The first column of the first row."""
        return self.rows(statement, *parameters)[0][0]


def sqlalchemy_url(url: str, name: str) -> str:
    """The URL of another database on the same server, with SQLAlchemy's driver in it."""
    return url.rsplit("/", 1)[0].replace("postgresql://", "postgresql+psycopg://") + f"/{name}"
