"""The audit log's chain, page by page, with what each hash was made of."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


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
