"""The two tasks. They are thin: what they do is in `worker.enqueue` and `worker.batch`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, Task
from celery.exceptions import Reject
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from worker.batch import BatchRunner
from worker.enqueue import EnqueuedJob, admit, insert
from worker.errors import IdempotencyKeyReused, InvalidCase
from worker.ledger.database import get_engine, insist
from worker.ledger.writer.arrival import bury_message
from worker.queue import stopping
from worker.queue.unreadable import as_sent
from worker.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds for which `cases.accept` asks the ledger before it puts its message back on the queue.
ACCEPT_PATIENCE = 10.0


def register_tasks(app: Celery, settings: Settings, runner: Callable[[], BatchRunner]) -> None:
    """Give the application its tasks. `runner` answers this process's BatchRunner."""

    @app.task(name="cases.accept", bind=True, acks_late=True, acks_on_failure_or_timeout=False)  # type: ignore[untyped-decorator]  # celery has no types
    def accept(task: Task, *args: Any, **fields: Any) -> None:
        """From apps without access to our SQL: the same INSERT. Acked once its row is committed."""
        take_in(settings, task, args, fields)

    @app.task(name="cases.submit")  # type: ignore[untyped-decorator]  # celery has no types
    def submit(job_ids: list[str]) -> None:
        """From the dispatcher: submit those of the jobs that are still queued."""
        runner().run([UUID(job_id) for job_id in job_ids])


def take_in(settings: Settings, task: Task, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Put one `cases.accept` message into the ledger, as a job or as a dead letter that keeps what was sent.

    Raises celery's Reject, to have the message put back, when the ledger cannot be reached.
    """
    engine = get_engine(settings.database_url)
    give_up_at = time.monotonic() + ACCEPT_PATIENCE

    def enough() -> bool:
        return time.monotonic() > give_up_at or stopping.seconds() is not None

    def bury(problem: str) -> None:
        detail = {"message": problem, "task": task.name, "message_id": task.request.id, "sent": as_sent(args, fields)}
        number = insist(engine, lambda connection: bury_message(connection, detail), until=enough)
        log.warning("message_malformed", dead_letter=number, task=task.name)

    def arrive(connection: Connection) -> EnqueuedJob:
        return insert(connection, job)

    try:
        try:
            job = admit(**_arguments(args, fields))
            arrived = insist(engine, arrive, until=enough)
            log.info("job_accepted", job_id=str(arrived.id), created=arrived.created)
        except (InvalidCase, IdempotencyKeyReused) as error:
            bury(str(error))
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours must not lose what was sent: it is kept with the error
            bury(f"internal error, {type(error).__name__}: {error}")
    except SQLAlchemyError as error:
        log.warning("message_put_back", task=task.name, error=type(error).__name__)
        raise Reject("the ledger cannot be reached", requeue=True) from None


def _arguments(args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `cases.accept` by name. Raises InvalidCase, naming what does not belong there."""
    if args:
        raise InvalidCase(f"{len(args)} positional arguments; cases.accept takes keyword arguments only", where="args")
    known = ("external_tenant_id", "case", "idempotency_key", "priority")
    if unknown := sorted(set(fields) - set(known)):
        raise InvalidCase(f"unknown; cases.accept takes {', '.join(known)}", where=", ".join(unknown)[:200])
    found = {name: fields.get(name) for name in known}
    return found | {"priority": "normal" if found["priority"] is None else found["priority"]}
