"""An alert on its way to one receiver: taken, then delivered, put off, or given up.

Who takes one puts its `due_at` off for as long as a try may last; so what a process that died had taken is due again by
itself. Every later statement names the try that it belongs to, and one that comes too late changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


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
    """The next alert that is due for that receiver, if the worker `leader` leads. It is ours for that many seconds."""
    row = connection.execute(_TAKE, {"target": target, "leader": leader, "seconds": seconds}).one_or_none()
    return TakenDelivery(**row._mapping) if row else None


def delivered(connection: Connection, taken: TakenDelivery, target: str) -> None:
    """The receiver has it."""
    _finish(connection, taken, target, "delivered", None)


def given_up(connection: Connection, taken: TakenDelivery, target: str, *, error: str) -> None:
    """The last try has failed too."""
    _finish(connection, taken, target, "given_up", error)


def put_off(connection: Connection, taken: TakenDelivery, target: str, *, seconds: float, error: str) -> None:
    """Try again in so many seconds."""
    parameters = {"alert": taken.alert_id, "target": target, "attempt": taken.attempt}
    connection.execute(_PUT_OFF, parameters | {"seconds": seconds, "error": error})


def _finish(connection: Connection, taken: TakenDelivery, target: str, state: str, error: str | None) -> None:
    parameters = {"alert": taken.alert_id, "target": target, "attempt": taken.attempt}
    connection.execute(_FINISH, parameters | {"state": state, "error": error})


def give_up_abandoned(connection: Connection, *, days: int) -> int:
    """What has been due for so many days goes to a receiver that is set no more. Returns how many."""
    return connection.execute(_ABANDON, {"days": days}).rowcount
