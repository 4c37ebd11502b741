"""Debitura's events: store each before it is acknowledged, process it once, delete it after a while."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from worker.ledger.webhook_models import WebhookOutcome

#: Days for which a processed event is recognized. Debitura repeats an event for about 1.5 hours by itself; a person may
#: have one repeated later.
KEPT_DAYS = 90


@dataclass(frozen=True, slots=True)
class UnworkedEvent:
    """One event to be processed, locked by this transaction."""

    id: str
    event: str
    external_tenant_id: str | None


_COUNT = text(
    """
    INSERT INTO webhook_counts AS c (day, event, received) VALUES ((now() AT TIME ZONE 'UTC')::date, :event, 1)
    ON CONFLICT (day, event) DO UPDATE SET received = c.received + 1
    """
)
_KEEP = text(
    """
    INSERT INTO webhook_events (id, event, external_tenant_id) VALUES (:id, :event, :tenant)
    ON CONFLICT (id) DO NOTHING
    """
)
_TAKE = text(
    """
    SELECT id, event, external_tenant_id FROM webhook_events
    WHERE worked_at IS NULL AND id <> ALL(:but) ORDER BY received_at LIMIT 1 FOR UPDATE SKIP LOCKED
    """
)
_WORKED = text(
    "UPDATE webhook_events SET worked_at = now(), outcome = :outcome, operations = :operations WHERE id = :id"
)
_FORGET = text(
    """
    DELETE FROM webhook_events WHERE id IN (
        SELECT id FROM webhook_events WHERE worked_at < now() - make_interval(days => :days) LIMIT 1000)
    """
)


def count_event(connection: Connection, event: str) -> None:
    """Count one more event of that name. The name is from a short list, whatever the sender wrote."""
    connection.execute(_COUNT, {"event": event})


def keep_event(connection: Connection, *, event_id: str, event: str, tenant: str | None) -> bool:
    """Store an event that must be processed. False: it came before."""
    parameters = {"id": event_id, "event": event, "tenant": tenant}
    return connection.execute(_KEEP, parameters).rowcount == 1


def take_event(connection: Connection, *, but: Collection[str] = ()) -> UnworkedEvent | None:
    """Lock the oldest unprocessed event that is not locked, except `but`, until the commit. None: none is left."""
    row = connection.execute(_TAKE, {"but": list(but)}).one_or_none()
    return UnworkedEvent(**row._mapping) if row else None


def worked(connection: Connection, event_id: str, outcome: WebhookOutcome, operations: Sequence[int] = ()) -> None:
    """Record what was done about it, in the transaction in which it was done."""
    connection.execute(_WORKED, {"id": event_id, "outcome": outcome.value, "operations": list(operations)})


def forget_old_events(connection: Connection) -> int:
    """Delete events processed long ago, a thousand at most. Returns how many."""
    return connection.execute(_FORGET, {"days": KEPT_DAYS}).rowcount
