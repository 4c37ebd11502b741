"""How PostgreSQL would run what a piece of work asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event

from tests.support.databases import Database


def plan_of(ledger: Database, work: Callable[[Connection], Any]) -> str:
    """The plans of all statements that the work runs, as PostgreSQL makes them; nothing is kept."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    with ledger.engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", note)
        work(connection)
        event.remove(connection, "before_cursor_execute", note)
        connection.rollback()
        for statement, _ in statements:
            if statement.startswith("SET LOCAL"):
                connection.exec_driver_sql(statement)
        plans = [
            "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
            for statement, parameters in statements
            if not statement.startswith("SET")
        ]
        connection.rollback()
    assert plans
    return "\n".join(plans)
