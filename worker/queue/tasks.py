"""The two tasks: thin wrappers around `worker.intake.enqueue` and `worker.submission.batch`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, Task
from celery.exceptions import Reject
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from worker.errors import CaseSealed, IdempotencyKeyReused, InvalidCase, SchemaMismatch
from worker.intake.enqueue import EnqueuedJob, admit, insert
from worker.ledger.database import get_engine, is_passing, run_with_retry
from worker.process import shutdown
from worker.process.lifecycle import ThisProcess
from worker.queue.app import ACCEPT_TASK, INTAKE, SUBMIT_TASK
from worker.queue.malformed_messages import DeadLetterSink, as_sent
from worker.queue.poison_messages import request_class
from worker.settings import Settings
from worker.telemetry.exception_redaction import redact_exception
from worker.telemetry.logging import tenant_digest
from worker.telemetry.tracing import parse_traceparent, span

log = structlog.get_logger(__name__)

#: Seconds for which `cases.accept` retries the ledger before it requeues its message.
ACCEPT_TIMEOUT = 10.0


def register_tasks(app: Celery, settings: Settings, this_process: ThisProcess) -> None:
    """Register the tasks with the application."""

    @app.task(  # type: ignore[untyped-decorator]  # celery has no types
        name=ACCEPT_TASK, bind=True, acks_late=True, acks_on_failure_or_timeout=False, reject_on_worker_lost=True,
        Request=request_class(settings.database_url, settings.protection),
    )  # fmt: skip
    def accept(task: Task, *args: Any, **fields: Any) -> None:
        """Enqueue a case from an app without database access. Acked after the row is committed."""
        with this_process.running_task():
            _require_schema(this_process)
            parent = parse_traceparent(task.request.get("traceparent"))
            with span(ACCEPT_TASK, kind="consumer", parent=parent):
                accept_message(settings, task, args, fields)

    @app.task(name=SUBMIT_TASK)  # type: ignore[untyped-decorator]  # celery has no types
    def submit(job_ids: list[str]) -> None:
        """Submit the jobs that are still queued. Sent by the dispatcher."""
        with this_process.running_task():
            _require_schema(this_process)
            this_process.runner().run([UUID(job_id) for job_id in job_ids])


def _require_schema(this_process: ThisProcess) -> None:
    """Raise Celery's Reject, which requeues the message, if the ledger's schema is not compatible.

    (Job ids are already acked; their jobs are in the ledger, for a compatible worker.)
    """
    try:
        this_process.schema.require()
    except SchemaMismatch:
        raise Reject("the ledger's schema is not compatible with this code", requeue=True) from None
    except SQLAlchemyError:
        return  # unreachable: the next step retries, and requeues the message if necessary


def accept_message(settings: Settings, task: Task, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Store one `cases.accept` message in the ledger, as a job or as a dead letter.

    Raises Celery's Reject, which requeues the message, if the ledger is unreachable.
    """
    engine, protection = get_engine(settings.database_url), settings.protection
    give_up_at = time.monotonic() + ACCEPT_TIMEOUT

    def timed_out() -> bool:
        return time.monotonic() > give_up_at or shutdown.seconds() is not None

    def arrive(connection: Connection) -> EnqueuedJob:
        return insert(connection, job, protection)

    try:
        job = admit(**_arguments(args, fields))
        job = replace(job, trace_context=parse_traceparent(task.request.get("traceparent")))
        arrived = run_with_retry(engine, arrive, until=timed_out)
    except Exception as error:  # noqa: BLE001 - store the message whatever happens
        if is_passing(error):
            log.warning("message_put_back", queue=INTAKE, error=type(error).__name__)
            raise Reject("the ledger cannot be reached", requeue=True) from None
        # The message is invalid, or our code has a bug: store it with the reason.
        expected = isinstance(error, (InvalidCase, IdempotencyKeyReused, CaseSealed))
        # The exception's text may contain the case, which must stay encrypted.
        description = redact_exception(error) if protection.keyring else f"{type(error).__name__}: {error}"
        problem = str(error) if expected else f"internal error, {description}"
        if isinstance(error, IdempotencyKeyReused) and protection.hides_reference:
            problem = f"its idempotency key belongs to job {error.job_id}, which has another case"
        stored = DeadLetterSink(settings.database_url, protection).store(
            problem=problem, sent=as_sent(args, fields), queue=INTAKE, message_id=task.request.id
        )
        if not stored:
            raise Reject("the ledger cannot be reached", requeue=True) from None
    else:
        log.info(
            "job_accepted",
            job_id=str(arrived.id),
            tenant=tenant_digest(job.external_tenant_id),
            created=arrived.created,
        )


def _arguments(args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `cases.accept` by name. Raises InvalidCase for unknown ones."""
    if args:
        raise InvalidCase(f"{len(args)} positional arguments; cases.accept takes keyword arguments only", where="args")
    known = ("external_tenant_id", "case", "idempotency_key", "priority")
    if unknown := sorted(set(fields) - set(known)):
        raise InvalidCase(f"unknown; cases.accept takes {', '.join(known)}", where=", ".join(unknown)[:200])
    found = {name: fields.get(name) for name in known}
    return found | {"priority": "normal" if found["priority"] is None else found["priority"]}
