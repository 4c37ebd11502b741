"""One message that nobody could read: a dead letter without a job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class UnreadableMessage:
    """What is known of it."""

    dead_letter_id: int
    detail: dict[str, Any]
    """`message`, `queue`, `message_id`, and `sent`: what the sender wrote, which may hold personal data."""
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None


_MESSAGE = text(
    "SELECT id AS dead_letter_id, detail, created_at, resolved_at, resolved_by, note FROM dead_letters"
    " WHERE id = :id AND job_id IS NULL"
)


def unreadable_message(connection: Connection, dead_letter_id: int) -> UnreadableMessage | None:
    """The message of that dead letter; None if there is none, or if it is a job's."""
    row = connection.execute(_MESSAGE, {"id": dead_letter_id}).one_or_none()
    return UnreadableMessage(**row._mapping) if row else None
