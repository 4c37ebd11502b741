"""The audit log, and its hash chain."""

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
    """Selects entries: all parts must match; None matches any."""

    actor: str | None = None
    action: str | None = None
    job: UUID | None = None
    since: datetime | None = None
    """At this time or later; with a time zone."""
    before: datetime | None = None
    """Before this time; with a time zone."""


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
# One index look-up per distinct value, however long the log is.
_DISTINCT = """
    WITH RECURSIVE found AS (
        (SELECT {value} AS value FROM audit_log ORDER BY {value} LIMIT 1)
        UNION ALL
        SELECT (SELECT {value} FROM audit_log WHERE {value} > found.value ORDER BY {value} LIMIT 1)
        FROM found WHERE found.value IS NOT NULL
    )
    SELECT value FROM found WHERE value IS NOT NULL LIMIT :most
"""


def acts(connection: Connection, wanted: AuditFilter, *, older_than: int | None = None, limit: int = 50) -> list[Act]:
    """The newest matching entries; with `older_than` (an entry's id), those before it."""
    given = {name: getattr(wanted, name) for name in _PARTS if getattr(wanted, name) is not None}
    conditions = [_PARTS[name] for name in given]
    if older_than is not None:
        conditions.append("(at, id) < ((SELECT at FROM audit_log WHERE id = :older_than), :older_than)")
    statement = _PAGE.format(conditions=" AND ".join(conditions) or "true")
    rows = connection.execute(text(statement), {**given, "older_than": older_than, "limit": limit})
    return [Act(**row._mapping) for row in rows]


def all_acts(connection: Connection, wanted: AuditFilter, *, page: int = 1000) -> Iterator[Act]:
    """All matching entries, newest first, read page by page."""
    older_than = None
    while True:
        found = acts(connection, wanted, older_than=older_than, limit=page)
        yield from found
        if len(found) < page:
            return
        older_than = found[-1].id


def distinct_actions(connection: Connection) -> list[str]:
    """The distinct actions in the log."""
    return list(connection.execute(text(_DISTINCT.format(value="action")), {"most": 100}).scalars())


def distinct_actors(connection: Connection, *, most: int = 100) -> list[str]:
    """The first distinct actors in the log, sorted by name."""
    return list(connection.execute(text(_DISTINCT.format(value="left(actor, 100)")), {"most": most}).scalars())


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the hash chain."""

    position: int
    entry_id: int
    hash: bytes
    text: str | None
    """The entry's text as it was hashed; None if the entry is missing."""


@dataclass(frozen=True, slots=True)
class Head:
    """The chain's stored length and last hash."""

    entries: int
    hash: bytes


# Don't use the database's own function: an attacker who altered an entry may have altered it too.
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
    """The chain's length and last hash, as stored beside it."""
    row = connection.execute(text("SELECT entries, hash FROM audit_head WHERE id = 1")).one()
    return Head(row.entries, bytes(row.hash))


def links(connection: Connection, *, after: int, page: int) -> list[Link]:
    """The next links after a position."""
    rows = connection.execute(_LINKS, {"after": after, "page": page})
    return [Link(row.position, row.entry_id, bytes(row.hash), row.text) for row in rows]


def unchained(connection: Connection, *, limit: int) -> list[int]:
    """The ids of log entries that are not in the chain."""
    return list(connection.execute(_UNCHAINED, {"limit": limit}).scalars())
