"""The two tasks. They are thin: what they do is in `worker.intake.enqueue` and `worker.submission.batch`."""

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

#: Seconds for which `cases.accept` asks the ledger before it puts its message back on the queue.
ACCEPT_TIMEOUT = 10.0


def register_tasks(app: Celery, settings: Settings, this_process: ThisProcess) -> None:
    """Give the application its tasks."""

    @app.task(  # type: ignore[untyped-decorator]  # celery has no types
        name=ACCEPT_TASK, bind=True, acks_late=True, acks_on_failure_or_timeout=False, reject_on_worker_lost=True,
        Request=request_class(settings.database_url, settings.protection),
    )  # fmt: skip
    def accept(task: Task, *args: Any, **fields: Any) -> None:
        """From apps without access to our SQL: the same INSERT. Acked once its row is committed."""
        with this_process.at_work():
            _require_schema(this_process)
            parent = parse_traceparent(task.request.get("traceparent"))
            with span(ACCEPT_TASK, kind="consumer", parent=parent):
                take_in(settings, task, args, fields)

    @app.task(name=SUBMIT_TASK)  # type: ignore[untyped-decorator]  # celery has no types
    def submit(job_ids: list[str]) -> None:
        """From the dispatcher: submit those of the jobs that are still queued."""
        with this_process.at_work():
            _require_schema(this_process)
            this_process.runner().run([UUID(job_id) for job_id in job_ids])


def _require_schema(this_process: ThisProcess) -> None:
    """Raises celery's Reject when the ledger's schema does not suit this code, to have a held message put back.

    (Ids are acked by then; their jobs are in the ledger, for a worker that suits it.)
    """
    try:
        this_process.schema.require()
    except SchemaMismatch:
        raise Reject("the ledger's schema does not suit this code", requeue=True) from None
    except SQLAlchemyError:
        return  # it is away; what comes next waits for it, and puts the message back if it must


def take_in(settings: Settings, task: Task, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Put one `cases.accept` message into the ledger, as a job or as a dead letter that keeps what was sent.

    Raises celery's Reject, to have the message put back, when the ledger cannot be reached.
    """
    engine, protection = get_engine(settings.database_url), settings.protection
    give_up_at = time.monotonic() + ACCEPT_TIMEOUT

    def enough() -> bool:
        return time.monotonic() > give_up_at or shutdown.seconds() is not None

    def arrive(connection: Connection) -> EnqueuedJob:
        return insert(connection, job, protection)

    try:
        job = admit(**_arguments(args, fields))
        job = replace(job, trace_context=parse_traceparent(task.request.get("traceparent")))
        arrived = run_with_retry(engine, arrive, until=enough)
    except Exception as error:  # noqa: BLE001 - see below; nothing may be lost here
        if is_passing(error):
            log.warning("message_put_back", queue=INTAKE, error=type(error).__name__)
            raise Reject("the ledger cannot be reached", requeue=True) from None
        # What was sent is wrong, or a bug of ours stumbles over it: it is kept with the reason either way.
        expected = isinstance(error, (InvalidCase, IdempotencyKeyReused, CaseSealed))
        # A bug's text may repeat the case, which nobody is to read where cases are sealed.
        words = redact_exception(error) if protection.keyring else f"{type(error).__name__}: {error}"
        problem = str(error) if expected else f"internal error, {words}"
        if isinstance(error, IdempotencyKeyReused) and protection.hides_reference:
            problem = f"its idempotency key belongs to job {error.job_id}, which has another case"
        kept = DeadLetterSink(settings.database_url, protection).keep(
            problem=problem, sent=as_sent(args, fields), queue=INTAKE, message_id=task.request.id
        )
        if not kept:
            raise Reject("the ledger cannot be reached", requeue=True) from None
    else:
        log.info(
            "job_accepted",
            job_id=str(arrived.id),
            tenant=tenant_digest(job.external_tenant_id),
            created=arrived.created,
        )


def _arguments(args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `cases.accept` by name. Raises InvalidCase, naming what does not belong there."""
    if args:
        raise InvalidCase(f"{len(args)} positional arguments; cases.accept takes keyword arguments only", where="args")
    known = ("external_tenant_id", "case", "idempotency_key", "priority")
    if unknown := sorted(set(fields) - set(known)):
        raise InvalidCase(f"unknown; cases.accept takes {', '.join(known)}", where=", ".join(unknown)[:200])
    found = {name: fields.get(name) for name in known}
    return found | {"priority": "normal" if found["priority"] is None else found["priority"]}
