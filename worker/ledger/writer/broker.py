"""Since when the broker takes no messages, in the dispatcher's row: so that people can read it."""

from __future__ import annotations

from sqlalchemy import Connection, text


def note_unpublished(connection: Connection) -> None:
    """The broker has not taken a message; since when, is kept until `note_published`."""
    connection.execute(text("UPDATE dispatcher SET unpublished_since = COALESCE(unpublished_since, now())"))


def note_published(connection: Connection) -> None:
    """The broker takes messages again."""
    connection.execute(text("UPDATE dispatcher SET unpublished_since = NULL WHERE unpublished_since IS NOT NULL"))
