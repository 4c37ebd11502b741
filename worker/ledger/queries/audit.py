"""Who did what, newest first, as far back as the audit log goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Act:
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    job_id: UUID | None
    detail: dict[str, Any]
    note: str | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries: all parts must fit; None means any."""

    actor: str | None = None
    action: str | None = None
    job: UUID | None = None
    since: datetime | None = None
    """Then or later; with a zone."""
    before: datetime | None = None
    """Before then; with a zone."""


_PARTS = {
    "actor": "left(actor, 100) = left(:actor, 100) AND actor = :actor",
    "action": "action = :action",
    "job": "job_id = :job",
    "since": "at >= :since",
    "before": "at < :before",
}
_PAGE = """
    SELECT id, at, actor, action, job_id, detail, note FROM audit_log
    WHERE {conditions} ORDER BY at DESC, id DESC LIMIT :limit
"""
# By way of the index: as many short look-ups as there are different values, however long the log is.
_DIFFERENT = """
    WITH RECURSIVE found AS (
        (SELECT {value} AS value FROM audit_log ORDER BY {value} LIMIT 1)
        UNION ALL
        SELECT (SELECT {value} FROM audit_log WHERE {value} > found.value ORDER BY {value} LIMIT 1)
        FROM found WHERE found.value IS NOT NULL
    )
    SELECT value FROM found WHERE value IS NOT NULL LIMIT :most
"""


def acts(connection: Connection, wanted: AuditFilter, *, older_than: int | None = None, limit: int = 50) -> list[Act]:
    """The newest entries that fit; those before the entry `older_than`, by its id, where that is given."""
    given = {name: getattr(wanted, name) for name in _PARTS if getattr(wanted, name) is not None}
    conditions = [_PARTS[name] for name in given]
    if older_than is not None:
        conditions.append("(at, id) < ((SELECT at FROM audit_log WHERE id = :older_than), :older_than)")
    statement = _PAGE.format(conditions=" AND ".join(conditions) or "true")
    rows = connection.execute(text(statement), {**given, "older_than": older_than, "limit": limit})
    return [Act(**row._mapping) for row in rows]


def all_acts(connection: Connection, wanted: AuditFilter, *, page: int = 1000) -> Iterator[Act]:
    """All that fit, newest first, read page by page."""
    older_than = None
    while True:
        found = acts(connection, wanted, older_than=older_than, limit=page)
        yield from found
        if len(found) < page:
            return
        older_than = found[-1].id


def different_actions(connection: Connection) -> list[str]:
    """Every action that the log knows."""
    return list(connection.execute(text(_DIFFERENT.format(value="action")), {"most": 100}).scalars())


def different_actors(connection: Connection, *, most: int = 100) -> list[str]:
    """The first of the people that the log knows, by name."""
    return list(connection.execute(text(_DIFFERENT.format(value="left(actor, 100)")), {"most": most}).scalars())


@dataclass(frozen=True, slots=True)
class Link:
    """One place in the chain."""

    position: int
    entry_id: int
    hash: bytes
    text: str | None
    """The entry as the hash has it; None: the entry is gone."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the chain says of its own end."""

    entries: int
    hash: bytes


# Written out again, and not by the database's own function: who has altered an entry may have altered that too.
_LINKS = text(
    """
    SELECT c.position, c.entry_id, c.hash,
           CASE WHEN a.id IS NOT NULL THEN
               CAST(jsonb_build_array(a.id, CAST(extract(epoch FROM a.at) * 1000000 AS bigint), a.actor, a.action,
                                      a.job_id, a.detail, a.note) AS text) END AS text
    FROM audit_chain c LEFT JOIN audit_log a ON a.id = c.entry_id
    WHERE c.position > :after ORDER BY c.position LIMIT :page
    """
)
_UNCHAINED = text(
    "SELECT a.id FROM audit_log a LEFT JOIN audit_chain c ON c.entry_id = a.id WHERE c.entry_id IS NULL"
    " ORDER BY a.id LIMIT :limit"
)


def head(connection: Connection) -> Head:
    """The chain's length and last hash, as they are kept beside it."""
    row = connection.execute(text("SELECT entries, hash FROM audit_head WHERE id = 1")).one()
    return Head(row.entries, bytes(row.hash))


def links(connection: Connection, *, after: int, page: int) -> list[Link]:
    """The next places after that position."""
    rows = connection.execute(_LINKS, {"after": after, "page": page})
    return [Link(row.position, row.entry_id, bytes(row.hash), row.text) for row in rows]


def unchained(connection: Connection, *, limit: int) -> list[int]:
    """The ids of entries that stand in the log and not in the chain."""
    return list(connection.execute(_UNCHAINED, {"limit": limit}).scalars())
