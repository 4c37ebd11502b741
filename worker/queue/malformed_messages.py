"""Detect unreadable messages, and store them in the ledger.

Celery at best drops such messages with a log line; some crash the worker, are redelivered and crash the next one. Here
each becomes a `malformed_message` dead letter, and the worker continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import simplejson
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from worker.case.protection import UNPROTECTED, Protection
from worker.debitura.judge import clean
from worker.ledger.database import get_engine, run_with_retry
from worker.ledger.writer.arrival import dead_letter_message
from worker.process import shutdown
from worker.queue.app import ACCEPT_TASK, SUBMIT_TASK

log = structlog.get_logger(__name__)

#: Maximum characters stored of a message.
MAX_STORED_CHARACTERS = 100_000
#: Seconds to retry storing a message before it is requeued.
STORE_TIMEOUT = 10.0


class DeadLetterSink:
    """Stores unreadable messages as dead letters."""

    def __init__(self, database_url: str, protection: Protection = UNPROTECTED) -> None:
        self._database_url = database_url
        self._protection = protection

    def store(self, *, problem: str, sent: str, queue: str | None, message_id: str | None = None) -> bool:
        """Store the message as a dead letter. Returns False if the ledger is unreachable: then requeue it."""
        detail = {"message": clean(problem)[:2000], "sent": sent, "queue": queue, "message_id": message_id}
        give_up_at = time.monotonic() + STORE_TIMEOUT

        def dead_letter(connection: Connection) -> int:
            return dead_letter_message(connection, detail, self._protection)

        def timed_out() -> bool:
            return time.monotonic() > give_up_at or shutdown.seconds() is not None

        try:
            number = run_with_retry(get_engine(self._database_url), dead_letter, until=timed_out)
        except SQLAlchemyError as error:
            log.warning("message_put_back", queue=queue, error=type(error).__name__)
            return False
        log.warning("message_malformed", dead_letter=number, queue=queue)
        return True


def problem_with(headers: Any, content_type: Any, decode: Callable[[], Any]) -> str | None:
    """Why this message is not one of our tasks, or None.

    `decode` returns the body as data, and raises if it cannot be decoded.
    """
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
        return "the message has no task header: it is not a Celery message of protocol 2"
    if headers["task"] not in (ACCEPT_TASK, SUBMIT_TASK):
        return f"there is no task named {headers['task'][:200]!r} here; apps send {ACCEPT_TASK}"
    if not isinstance(headers.get("id"), str) or not headers["id"]:
        return "the message has no id header"
    if content_type != "application/json":
        return f"its content type is {content_type!r}; only application/json is accepted"
    if headers.get("eta") is not None:
        return "it has an eta or countdown, but cases are submitted in turn; send it when it is due"
    if headers.get("expires") is not None:
        return "it has an expiry, but a case must not be dropped silently; send it without one"
    timelimit = headers.get("timelimit")
    if timelimit is not None and timelimit != [None, None]:
        return "it has a time limit, which is not supported"
    try:
        body = decode()
    except Exception as error:  # noqa: BLE001 - a codec may raise any exception
        return f"its body cannot be decoded: {error}"
    return _problem_with_body(headers["task"], body)


def _problem_with_body(task: str, body: Any) -> str | None:
    is_well_formed = (
        isinstance(body, list)
        and len(body) == 3
        and isinstance(body[0], list)
        and isinstance(body[1], dict)
        and isinstance(body[2], dict | None)
    )
    if not is_well_formed:
        return "its body is not [args, kwargs, embed] as in protocol 2"
    if any((body[2] or {}).get(part) for part in ("callbacks", "errbacks", "chain", "chord")):
        return "it has callbacks or a chain, which are not supported"
    if task == SUBMIT_TASK and not _names_jobs(body[0], body[1]):
        return f"{SUBMIT_TASK} takes job_ids, a list of job ids; only the dispatcher sends it"
    return None


def _names_jobs(args: list[Any], fields: dict[str, Any]) -> bool:
    ids = fields.get("job_ids")
    if args or fields.keys() != {"job_ids"} or not isinstance(ids, list):
        return False
    try:
        return all(isinstance(job_id, str) and UUID(job_id) for job_id in ids)
    except ValueError:
        return False


def as_sent(args: Any, fields: Any) -> str:
    """A task's arguments as JSON text, truncated."""
    return truncated(
        simplejson.dumps({"args": args, "kwargs": fields}, use_decimal=True, ensure_ascii=False, default=repr)
    )


def truncated(raw: Any) -> str:
    """Text that the ledger can store, truncated to MAX_STORED_CHARACTERS."""
    text = bytes(raw).decode("utf-8", "replace") if isinstance(raw, (bytes, bytearray, memoryview)) else str(raw)
    text = clean(text)
    return (
        text
        if len(text) <= MAX_STORED_CHARACTERS
        else f"{text[:MAX_STORED_CHARACTERS]} … ({len(text)} characters in total)"
    )
