"""Keep personal data and secrets in exception texts out of the logs.

PostgreSQL repeats a row that fails a constraint ("Failing row contains (…)"), JSON and HTTP libraries repeat their
input, and Celery logs what a task raised. So log an exception by its type and its place in the code. Only operating
system errors include their text: it contains no user data.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType
from typing import Any

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
#: Celery's logger of failed tasks; it logs the exception as text.
_TASKS = "celery.app.trace"


def redact_exception(error: BaseException) -> str:
    """The exception in a form that is safe to log."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return f"{name} (SQLSTATE {state})" if isinstance(state, str) else name


def redact_traceback(info: ExcInfo) -> str:
    """The traceback without values: files, lines and code, and each exception of the chain redacted."""
    parts: list[str] = []
    error: BaseException | None = info[1]
    while error is not None and len(parts) < 10:
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{redact_exception(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\ncaused by:\n".join(parts)


def format_exception(_logger: Any, _method: str, event: Any) -> Any:
    """A structlog processor for the `exception` field; structlog's own includes the exception's text."""
    info = event.pop("exc_info", None)
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and isinstance(info[1], BaseException):
        event["exception"] = redact_traceback(info)
    return event


class ExceptionRedactionFilter(logging.Filter):
    """Redact exceptions in the arguments of other libraries' log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record. Returns True: it is always logged."""
        raised = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(record.args, dict):
            if record.name == _TASKS and "exc" in record.args:
                record.args = {
                    **record.args,
                    "exc": redact_exception(raised) if raised else "an exception",
                    "traceback": "",
                }
        elif isinstance(record.args, tuple):
            record.args = tuple(
                redact_exception(value) if isinstance(value, BaseException) else value for value in record.args
            )
        return True
