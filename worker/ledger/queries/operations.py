"""Bulk operations: their progress, and the result of each selected failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.errors import OperationNotFound
from worker.ledger.states import State


@dataclass(frozen=True, slots=True)
class Operation:
    """One replay or discard of a selection, as of one moment."""

    id: int
    verb: str
    """`replay` or `discard` (worker.ledger.states.Verb)."""
    canary: bool
    state: str
    """worker.ledger.states.OperationState."""
    actor: str
    note: str | None
    door: dict[str, Any]
    filter: dict[str, Any]
    """For FailureFilter.from_dict; its ages are converted to times."""
    newest: int
    jobs: int
    """The number of selected jobs in the preview."""
    messages: int
    """The number of selected unreadable messages."""
    tenants: int
    amounts: dict[str, str]
    cursor: int
    done: int
    """The number replayed or discarded so far."""
    skipped: int
    stage: int
    """In a canary replay: 1 for one job, 2 for five jobs, 3 for the rest. 0 before it starts, and without a canary."""
    lease_until: datetime | None
    created_at: datetime
    finished_at: datetime | None
    cancelled_by: str | None
    cancelled_at: datetime | None
    message: str | None
    """Why it stopped."""
    carried_out: bool
    """Whether a process holds its lease now. A running operation without one can be resumed."""

    @property
    def total(self) -> int:
        """All selected items."""
        return self.jobs + self.messages


@dataclass(frozen=True, slots=True)
class Item:
    """The result of one selected failure."""

    dead_letter_id: int
    job_id: UUID | None
    external_tenant_id: str | None
    creditor_reference: str | None
    """The invoice number by which users know the case."""
    outcome: str
    """worker.ledger.states.ItemOutcome."""
    why: str | None
    """Why it was skipped."""
    stage: int
    at: datetime
    state_now: str | None
    """The job's current state; for a replayed job, its outcome so far."""
    case_reference: str | None
    last_error: str | None
    """For a replayed job that died again: the API's error."""


_COLUMNS = """
    SELECT id, verb, canary, state, actor, note, door, filter, newest, jobs, messages, tenants, amounts, cursor, done,
           skipped, stage, lease_until, created_at, finished_at, cancelled_by, cancelled_at, message,
           COALESCE(lease_until > now(), false) AS carried_out
    FROM operations
"""
_ONE = text(f"{_COLUMNS} WHERE id = :id")
_LATEST = text(f"{_COLUMNS} WHERE id < :before ORDER BY id DESC LIMIT :limit")
_ABANDONED = text(
    "SELECT id FROM operations WHERE state = 'running' AND (lease_until IS NULL OR lease_until < now()) ORDER BY id"
)
_ITEMS = text(
    """
    SELECT i.dead_letter_id, i.job_id, j.external_tenant_id, j.creditor_reference, i.outcome, i.why, i.stage, i.at,
           j.state AS state_now, j.case_reference,
           CASE WHEN j.state = 'dead' AND i.outcome = 'replayed' THEN j.last_error END AS last_error
    FROM operation_items i LEFT JOIN jobs j ON j.id = i.job_id
    WHERE i.operation_id = :id AND i.dead_letter_id > :after
    ORDER BY i.dead_letter_id LIMIT :limit
    """
)
_NEWEST = 2**63 - 1


def operation(connection: Connection, operation_id: int) -> Operation:
    """One operation. Raises OperationNotFound."""
    row = connection.execute(_ONE, {"id": operation_id}).one_or_none()
    if row is None:
        raise OperationNotFound(f"there is no operation {operation_id} in this database")
    return Operation(**row._mapping)


def operations(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[Operation]:
    """The newest operations, or those with an id below `before`."""
    rows = connection.execute(_LATEST, {"before": _NEWEST if before is None else before, "limit": limit})
    return [Operation(**row._mapping) for row in rows]


def abandoned_operations(connection: Connection) -> list[int]:
    """Running operations without a lease holder: just started, or their process died."""
    return list(connection.execute(_ABANDONED).scalars())


def operation_items(connection: Connection, operation_id: int, *, after: int = 0, page: int = 1000) -> Iterator[Item]:
    """The results by ascending dead letter id, read page by page."""
    while True:
        rows = connection.execute(_ITEMS, {"id": operation_id, "after": after, "limit": page}).all()
        yield from (Item(**row._mapping) for row in rows)
        if len(rows) < page:
            return
        after = rows[-1].dead_letter_id


@dataclass(frozen=True, slots=True)
class CanaryDeath:
    """A job in a canary stage that died again."""

    job_id: UUID
    same_cause: bool
    """Whether the cause is the same as before the replay."""
    reason: str
    error_type: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class CanaryStatus:
    """The jobs in one stage of a canary replay."""

    replayed: int
    """Not counting those discarded since."""
    under_way: int
    """Those without an outcome yet."""
    deaths: list[CanaryDeath]


_CANARY = text(
    """
    SELECT i.job_id, j.state, n.id IS NOT NULL AS died, n.cause = o.cause AS same_cause, n.reason,
           n.detail ->> 'type' AS error_type, n.detail ->> 'message' AS message
    FROM operation_items i
    JOIN jobs j ON j.id = i.job_id
    LEFT JOIN dead_letters o ON o.id = i.dead_letter_id
    LEFT JOIN dead_letters n ON n.job_id = i.job_id AND n.resolved_at IS NULL AND n.id > i.dead_letter_id
    WHERE i.operation_id = :id AND i.stage = :stage AND i.outcome = 'replayed' AND j.state <> 'discarded'
    ORDER BY i.dead_letter_id
    """
)


def canary_status(connection: Connection, operation_id: int, stage: int) -> CanaryStatus:
    """The status of a stage's jobs. Meant for stages 1 and 2, which have few."""
    rows = connection.execute(_CANARY, {"id": operation_id, "stage": stage}).all()
    deaths = [
        CanaryDeath(row.job_id, bool(row.same_cause), row.reason, row.error_type, row.message)
        for row in rows
        if row.died
    ]
    ended = sum(row.state == State.SUBMITTED for row in rows)
    return CanaryStatus(len(rows), len(rows) - ended - len(deaths), deaths)
