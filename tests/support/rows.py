"""The ledger's rows as a test needs them: the test names the columns that matter to it, the rest is made to fit.

For states that take long to reach, or that no worker produces. Where the way to a state matters, a job is taken through
it with `tests.support.pipeline`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from tests.support.databases import Database
from worker.ledger.database import transaction
from worker.ledger.states import INVALID_LINK_REASONS
from worker.ledger.writer.holds import HoldName, hold

DAY = 86_400.0


@dataclass(frozen=True)
class Moment:
    """A time by the database's clock, as a column's value."""

    sql: str
    interval: str


def ago(interval: str) -> Moment:
    """So long before now, in PostgreSQL's words: `ago("61 s")`."""
    return Moment("now() - %s::interval", interval)


def from_now(interval: str) -> Moment:
    """So long after now."""
    return Moment("now() + %s::interval", interval)


NOW = ago("0 s")
IN_AN_HOUR = from_now("1 hour")

#: The columns that belong to a state: filled in it, empty in the others.
_OF_STATE: dict[str, dict[str, Any]] = {
    "waiting": {"due_at": NOW},
    "queued": {"queued_at": NOW},
    "submitting": {"lease_token": UUID(int=1), "lease_owner": "other", "lease_until": from_now("1 minute")},
    "submitted": {"finalized_at": NOW, "case_id": "c"},
    "discarded": {"finalized_at": NOW},
}
_EMPTY = {column: None for columns in _OF_STATE.values() for column in columns}


def _state(state: str) -> dict[str, Any]:
    return {"state": state, **_EMPTY, **_OF_STATE.get(state, {})}


def insert_job(ledger: Database, tenant: str = "acme", *, state: str = "pending", **columns: Any) -> UUID:
    """One job in that state."""
    job = uuid4()
    row = {"id": job, "external_tenant_id": tenant, "idempotency_key": str(job), "case_body": '{"debtor":{}}'}
    _insert(ledger, "jobs", {**row, "submission_key": uuid4(), **_state(state), **columns})
    return job


def change_job(ledger: Database, job: UUID, **columns: Any) -> None:
    """Set columns of one job. With a new state, the columns that belong to it are set too."""
    _change(ledger, "jobs", _with_state(columns), "id", job)


def change_jobs(ledger: Database, in_state: str | None = None, **columns: Any) -> None:
    """Set columns of all jobs, or of those in one state."""
    _change(ledger, "jobs", _with_state(columns), "state", in_state)


def forget_stopped_links(ledger: Database) -> None:
    """The next job of a tenant is sent although its link was found invalid."""
    ledger.rows("DELETE FROM tenant_links")


def age(ledger: Database, *jobs: UUID, days: int = 100) -> None:
    """Make these jobs final since so many days."""
    for job in jobs:
        change_job(ledger, job, finalized_at=ago(f"{days} days"))


def insert_dead_letter(ledger: Database, job: UUID | None, reason: str = "validation", **columns: Any) -> int:
    """One dead letter of that job. Returns its id."""
    row = {"job_id": job, "reason": reason, "invalid_client_link": reason in INVALID_LINK_REASONS, "detail": {}}
    return int(str(_insert(ledger, "dead_letters", row | columns)))


def change_dead_letters(ledger: Database, job: UUID | None = None, **columns: Any) -> None:
    """Set columns of all dead letters, or of one job's."""
    _change(ledger, "dead_letters", columns, "job_id", job)


def insert_unreadable_message(ledger: Database, message: str = "its body is torn") -> int:
    """One message that is no job. Returns its dead letter's id."""
    return insert_dead_letter(ledger, None, "malformed_message", detail={"message": message, "sent": "secret"})


def insert_dead_job(
    ledger: Database,
    tenant: str = "acme",
    *,
    reason: str = "validation",
    message: str | None = "debtor.email: Invalid email format",
    error_type: str | None = "ValidationError",
    status: int | None = 400,
    amount: str | None = "100.00",
    currency: str | None = "DKK",
    reference: str | None = None,
    solution: str | None = None,
    age: str = "0 s",
    unknown: bool = False,
    detail: dict[str, Any] | None = None,
    **columns: Any,
) -> UUID:
    """One dead job with its open dead letter, `age` old."""
    job = insert_job(
        ledger, tenant, state="dead", amount=amount, currency=currency, creditor_reference=reference,
        outcome_unknown=unknown, attempt_count=1, request_count=1, last_error=message, created_at=ago(age), **columns,
    )  # fmt: skip
    said = {"status": status, "type": error_type, "message": message} if detail is None else detail
    known = {name: value for name, value in said.items() if value is not None}
    insert_dead_letter(ledger, job, reason, detail=known, solution_url=solution, created_at=ago(age))
    return job


def change_attempts(ledger: Database, job: UUID, **columns: Any) -> None:
    """Set columns of all attempts of one job."""
    _change(ledger, "attempts", columns, "job_id", job)


def set_hold(ledger: Database, name: HoldName, seconds: float = 60, detail: str = "test") -> None:
    """Hold the fleet for that long from now; a negative time is over already."""
    with transaction(ledger.engine) as connection:
        hold(connection, name, seconds=seconds, detail=detail)


def let_holds_lapse(ledger: Database) -> None:
    """The time of all holds is over."""
    _change(ledger, "holds", {"until": ago("1 second")})


def set_leader(ledger: Database, name: str = "one", until: Moment = IN_AN_HOUR) -> None:
    """Make that worker's dispatcher the leader."""
    _change(ledger, "dispatcher", {"leader": name, "lease_until": until})


def insert_requests(ledger: Database, requests: int, at: Moment = NOW, api: str = "customer") -> None:
    """Count requests to an API at that time."""
    _insert(ledger, "api_use", {"api": api, "since": at, "requests": requests})


def insert_audit_entry(ledger: Database, actor: str, action: str = "reveal", **columns: Any) -> None:
    """One entry of the audit log."""
    _insert(ledger, "audit_log", {"actor": actor, "action": action, **columns})


def _with_state(columns: dict[str, Any]) -> dict[str, Any]:
    return {**_state(columns["state"]), **columns} if "state" in columns else columns


def _insert(ledger: Database, table: str, columns: Mapping[str, object]) -> object:
    """Insert one row. Returns its first column."""
    values = ", ".join(_placeholder(value) for value in columns.values())
    statement = f"INSERT INTO {table} AS t ({', '.join(columns)}) VALUES ({values}) RETURNING t.*"
    return ledger.value(statement, *map(_parameter, columns.values()))


def _change(
    ledger: Database, table: str, columns: Mapping[str, object], key: str | None = None, wanted: object = None
) -> None:
    """Set columns of the rows whose `key` is as wanted; of all rows if nothing is wanted."""
    changes = ", ".join(f"{name} = {_placeholder(value)}" for name, value in columns.items())
    where, parameters = ("", []) if wanted is None else (f" WHERE {key} = %s", [wanted])
    ledger.rows(f"UPDATE {table} SET {changes}{where}", *map(_parameter, columns.values()), *parameters)


def _placeholder(value: object) -> str:
    return value.sql if isinstance(value, Moment) else "%s"


def _parameter(value: object) -> object:
    match value:
        case Moment():
            return value.interval
        case dict():
            return Jsonb(value)
        case _:
            return value
