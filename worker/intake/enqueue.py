"""Enqueue a case from Python: one INSERT, optionally in the caller's transaction.

from worker import enqueue_case
job = enqueue_case(external_tenant_id="acme-42", case={...})             # its own transaction
enqueue_case(external_tenant_id="acme-42", case={...}, session=session)  # commits or rolls back with the session
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from worker.case.amounts import money_of
from worker.case.codec import check_text, creditor_reference, digest, read_json, write_json
from worker.case.protection import UNPROTECTED, Protection
from worker.errors import IdempotencyKeyReused, InvalidCase
from worker.ledger.database import get_engine, transaction
from worker.ledger.states import Priority
from worker.ledger.writer.arrival import ExistingJob, NewJob, earlier_bodies, insert_job
from worker.settings import Settings
from worker.telemetry.tracing import current_traceparent, span

#: Maximum length of a tenant id (POST /oauth/token) and of an idempotency key.
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class EnqueuedJob:
    """The job of the case."""

    id: UUID
    created: bool
    """False if the job with this tenant and idempotency key already existed."""
    held: bool = False
    """Whether it waits for a valid client link, because another job of the tenant found the link invalid."""


def enqueue_case(
    *,
    external_tenant_id: str,
    case: dict[str, Any],
    idempotency_key: str | None = None,
    priority: str = "normal",
    session: Session | None = None,
    look_up_first: bool = False,
) -> EnqueuedJob:
    """Enqueue a case, to be submitted exactly once for this tenant.

    `case` is the body of POST /cases (referral-partners/integration-guides/case-submission). It is sent unchanged; the
    Customer API validates its fields. The default `idempotency_key` is the case's creditorReference or, without one, a
    digest of the case, so enqueueing the same case twice creates one job. `priority` is `high`, `normal` or `low`. With
    a `session` (on the ledger's database) the caller commits. `look_up_first` is for cases that a restored ledger may
    have lost: the case is looked up by its creditorReference before it is sent.

    Raises InvalidCase (nothing was stored; the message says what is wrong and where), IdempotencyKeyReused (the key
    belongs to a job with another case), CaseSealed (the cases cannot be compared: the key of that job's case is missing
    here), SettingsError (CASE_ENCRYPTION_KEYS or CASE_PLAINTEXT_FIELDS is wrong, or, without a session, DATABASE_URL),
    and SQLAlchemy's errors if the database is unreachable.
    """
    job = admit(external_tenant_id, case, idempotency_key, priority)
    if look_up_first:
        job = to_look_up_first(job)
    if session is not None:
        return insert(session.connection(), job, Protection.from_environment(os.environ))
    settings = Settings.from_environment(needs=("DATABASE_URL",))
    with transaction(get_engine(settings.database_url)) as connection:
        return insert(connection, job, settings.protection)


def admit(external_tenant_id: Any, case: Any, idempotency_key: Any = None, priority: Any = "normal") -> NewJob:
    """Validate the arguments, of any type, and serialize the case. Raises InvalidCase."""
    tenant = _name(external_tenant_id, "external_tenant_id")
    if not isinstance(case, dict):
        raise InvalidCase(f"should be an object, not {_kind(case)}", where="case")
    if not isinstance(case.get("debtor"), dict):
        found = f"is {_kind(case['debtor'])}" if "debtor" in case else "is missing"
        raise InvalidCase(f"{found}; a case needs its debtor as an object", where="case.debtor")
    if priority not in ("high", "normal", "low"):
        raise InvalidCase(f"should be high, normal or low, not {priority!r}", where="priority")
    body = write_json(case)
    key = default_key(case) if idempotency_key is None else _name(idempotency_key, "idempotency_key")
    amount, currency = money_of(case)
    return NewJob(tenant, key, body, creditor_reference(case), amount, currency, Priority.parse(priority))


def to_look_up_first(job: NewJob) -> NewJob:
    """Mark the job for a look-up before it is sent. Raises InvalidCase if it has no reference to look up."""
    if not job.creditor_reference:
        problem = "is missing, so the case cannot be looked up at the API: look for it in Debitura"
        raise InvalidCase(problem, where="case.creditorReference")
    return replace(job, look_up_first=True)


def insert(connection: Connection, job: NewJob, protection: Protection = UNPROTECTED) -> EnqueuedJob:
    """Insert an admitted job, or find the existing one with its key. Does not commit.

    The job stores the current trace, if any. Raises IdempotencyKeyReused, and CaseSealed if the existing job's case
    cannot be decrypted for comparison. A job whose case was purged counts as the same job: it cannot be compared, and a
    second submission would be worse.
    """
    with span("enqueue", kind="producer") as enqueueing:
        traced = replace(job, trace_context=current_traceparent() or job.trace_context)
        arrived = _insert(connection, traced, protection)
        enqueueing.note(job_id=str(arrived.id), created=arrived.created)
    return arrived


def _insert(connection: Connection, job: NewJob, protection: Protection) -> EnqueuedJob:
    outcome = insert_job(connection, job, protection)
    if not isinstance(outcome, ExistingJob):
        return EnqueuedJob(outcome.id, created=True, held=outcome.held)
    if not outcome.purged and (body := protection.open_case(outcome.id, outcome.case_body)) != job.case_body:
        new = digest(read_json(job.case_body, where="case"))
        earlier_versions = [protection.open_case(outcome.id, text) for text in earlier_bodies(connection, outcome.id)]
        if all(digest(read_json(text, where="case")) != new for text in [body, *earlier_versions]):
            raise IdempotencyKeyReused(key=job.idempotency_key, job_id=outcome.id)
    return EnqueuedJob(outcome.id, created=False, held=outcome.held)


def default_key(case: dict[str, Any]) -> str:
    """The default idempotency key of a case: its creditorReference, or its digest."""
    key = f"ref:{creditor_reference(case) or ''}"
    return key if len("ref:") < len(key) <= MAX_NAME else f"sha256:{digest(case)}"


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidCase("is missing" if value is None else f"should be text, not {_kind(value)}", where=where)
    if not 1 <= len(value) <= MAX_NAME:
        raise InvalidCase(f"has {len(value)} characters; 1 to {MAX_NAME} are allowed", where=where)
    check_text(value, where)
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float, Decimal)) else type(value).__name__)
