"""Write alerts, each once: conditions that began or ended, and their alerts, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.ledger.alert_models import AlertKind


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where alerts go, without its URL."""

    target: str
    """A digest that stands for the URL."""
    host: str


@dataclass(frozen=True, slots=True)
class NewAlert:
    """One alert to be written."""

    kind: AlertKind
    dedup_key: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewCondition:
    """A condition that has begun."""

    key: str
    kind: AlertKind
    facts: dict[str, Any] = field(default_factory=dict)


_LOOK = text(
    """
    WITH before AS (SELECT id, looked_at FROM alert_watch WHERE id = 1 FOR UPDATE)
    UPDATE alert_watch w SET looked_at = now() FROM before WHERE w.id = before.id RETURNING before.looked_at
    """
)
_BEGIN = text(
    """
    INSERT INTO alert_conditions (key, kind, facts)
    SELECT c.key, c.kind, c.facts FROM jsonb_to_recordset(:conditions) AS c (key text, kind text, facts jsonb)
    ON CONFLICT (key) DO NOTHING
    """
).bindparams(bindparam("conditions", type_=JSONB))
_SEEN = text("UPDATE alert_conditions SET seen_at = now() WHERE key = ANY(:keys)")
_END = text("DELETE FROM alert_conditions WHERE key = ANY(:keys)")
_TELL = text(
    """
    INSERT INTO alerts (id, dedup_key, kind, facts) VALUES (:id, :dedup_key, :kind, :facts)
    ON CONFLICT (dedup_key) DO NOTHING RETURNING id
    """
).bindparams(bindparam("facts", type_=JSONB))
_DELIVER = text(
    """
    INSERT INTO alert_deliveries (alert_id, target, host)
    SELECT :id, r.target, r.host FROM jsonb_to_recordset(:receivers) AS r (target text, host text)
    ON CONFLICT (alert_id, target) DO NOTHING
    """
).bindparams(bindparam("receivers", type_=JSONB))
_PURGE = text(
    """
    DELETE FROM alerts WHERE id IN (
        SELECT a.id FROM alerts a WHERE a.created_at < now() - make_interval(days => :days) LIMIT 1000)
    """
)


def begin_look(connection: Connection) -> datetime | None:
    """Lock the watch until the commit, and return when it was last locked. None: never.

    A second process waits here, and then sees what the first one wrote.
    """
    moment: datetime | None = connection.execute(_LOOK).scalar()
    return moment


def begin_conditions(connection: Connection, conditions: Sequence[NewCondition]) -> None:
    """Record conditions that have begun. Existing ones stay as they are."""
    rows = [{"key": c.key, "kind": c.kind.value, "facts": c.facts} for c in conditions]
    connection.execute(_BEGIN, {"conditions": rows})


def see_conditions(connection: Connection, keys: Sequence[str]) -> None:
    """Record that these conditions still hold."""
    connection.execute(_SEEN, {"keys": list(keys)})


def end_conditions(connection: Connection, keys: Sequence[str]) -> None:
    """Delete conditions that no longer hold, so that they are alerted again if they come back."""
    connection.execute(_END, {"keys": list(keys)})


def tell(connection: Connection, alert: NewAlert, receivers: Sequence[Receiver]) -> UUID | None:
    """Write one alert and its deliveries. Returns None if the ledger already has the same event."""
    parameters = {
        "id": uuid4(), "dedup_key": alert.dedup_key, "kind": alert.kind.value, "facts": alert.facts
    }  # fmt: skip
    told: UUID | None = connection.execute(_TELL, parameters).scalar()
    if told is not None:
        rows = [{"target": r.target, "host": r.host} for r in receivers]
        connection.execute(_DELIVER, {"id": told, "receivers": rows})
    return told


def forget_old_alerts(connection: Connection, *, days: int) -> int:
    """Delete alerts older than that, a thousand at most. Returns how many."""
    return connection.execute(_PURGE, {"days": days}).rowcount


@dataclass(frozen=True, slots=True)
class TakenDelivery:
    """One alert to be sent now."""

    alert_id: UUID
    kind: str
    facts: dict[str, Any]
    created_at: datetime
    attempt: int
    """The number of this try, from 1."""


_TAKE = text(
    """
    WITH due AS (
        SELECT alert_id, target FROM alert_deliveries
        WHERE state = 'pending' AND target = :target AND due_at <= now()
          AND EXISTS (SELECT FROM dispatcher WHERE leader = :leader AND lease_until > now())
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE alert_deliveries d
    SET attempts = LEAST(d.attempts + 1, 32767), due_at = now() + make_interval(secs => :seconds)
    FROM due JOIN alerts a ON a.id = due.alert_id
    WHERE d.alert_id = due.alert_id AND d.target = due.target
    RETURNING d.alert_id, a.kind, a.facts, a.created_at, d.attempts AS attempt
    """
)
_FINISH = text(
    """
    UPDATE alert_deliveries SET state = :state, finished_at = now(), last_error = :error
    WHERE alert_id = :alert AND target = :target AND state = 'pending' AND attempts = :attempt
    """
)
_PUT_OFF = text(
    """
    UPDATE alert_deliveries SET due_at = now() + make_interval(secs => :seconds), last_error = :error
    WHERE alert_id = :alert AND target = :target AND state = 'pending' AND attempts = :attempt
    """
)

_ABANDON = text(
    """
    UPDATE alert_deliveries
    SET state = 'given_up', finished_at = now(), last_error = COALESCE(last_error, 'nobody delivers to it any more')
    WHERE state = 'pending' AND due_at < now() - make_interval(days => :days)
    """
)


def take_delivery(connection: Connection, target: str, *, leader: str, seconds: float) -> TakenDelivery | None:
    """Take the next alert that is due for that receiver, for that many seconds, if the worker `leader` leads."""
    row = connection.execute(_TAKE, {"target": target, "leader": leader, "seconds": seconds}).one_or_none()
    return TakenDelivery(**row._mapping) if row else None


def delivered(connection: Connection, taken: TakenDelivery, target: str) -> None:
    """Record that the receiver has it."""
    _finish(connection, taken, target, "delivered", None)


def given_up(connection: Connection, taken: TakenDelivery, target: str, *, error: str) -> None:
    """Record that the last try failed too."""
    _finish(connection, taken, target, "given_up", error)


def put_off(connection: Connection, taken: TakenDelivery, target: str, *, seconds: float, error: str) -> None:
    """Try again in that many seconds."""
    parameters = {"alert": taken.alert_id, "target": target, "attempt": taken.attempt}
    connection.execute(_PUT_OFF, parameters | {"seconds": seconds, "error": error})


def _finish(connection: Connection, taken: TakenDelivery, target: str, state: str, error: str | None) -> None:
    parameters = {"alert": taken.alert_id, "target": target, "attempt": taken.attempt}
    connection.execute(_FINISH, parameters | {"state": state, "error": error})


def give_up_abandoned(connection: Connection, *, days: int) -> int:
    """Give up deliveries due for that many days: their receiver is no longer configured. Returns how many."""
    return connection.execute(_ABANDON, {"days": days}).rowcount
