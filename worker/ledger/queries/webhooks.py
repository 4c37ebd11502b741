"""Debitura's webhooks: how many came, and what has not been worked on yet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

#: Days that the counts look back.
DAYS = 30


@dataclass(frozen=True, slots=True)
class WebhookStanding:
    """What Debitura has told us lately."""

    received: dict[str, int]
    """By the event's name, over the last DAYS; `other` for names that the documentation does not know."""
    unworked: int
    """Events that wait to be worked on: a moment after they came, or because no `case-worker web` is running."""


def webhook_standing(connection: Connection) -> WebhookStanding:
    """How many events came, and how many wait to be worked on."""
    counts = connection.execute(
        text(
            "SELECT event, sum(received)::bigint AS received FROM webhook_counts"
            " WHERE day > (now() AT TIME ZONE 'UTC')::date - CAST(:days AS int) GROUP BY 1 ORDER BY 1"
        ),
        {"days": DAYS},
    )
    received = {row.event: row.received for row in counts}
    unworked = connection.execute(text("SELECT count(*) FROM webhook_events WHERE worked_at IS NULL")).scalar_one()
    return WebhookStanding(received, unworked)
