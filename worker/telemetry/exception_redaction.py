"""What an exception's text may not do: carry a debtor's data or a secret into a log line.

PostgreSQL repeats a row that fails a constraint ("Failing row contains (…)"), JSON and HTTP libraries repeat what they
were given, and Celery logs what a task raised. So an exception is logged by its type and its place in the code. Only
errors of the operating system say more: their text is made of numbers and names of the system's own.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType
from typing import Any

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
#: Celery's logger of tasks that raised; it puts the exception into the line as text.
_TASKS = "celery.app.trace"


def redact_exception(error: BaseException) -> str:
    """The exception, as it may stand in a log."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return f"{name} (SQLSTATE {state})" if isinstance(state, str) else name


def redact_traceback(info: ExcInfo) -> str:
    """The traceback without values: files, lines, their code, and each exception of the chain redacted."""
    parts: list[str] = []
    error: BaseException | None = info[1]
    while error is not None and len(parts) < 10:
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{redact_exception(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich came of:\n".join(parts)


def format_exception(_logger: Any, _method: str, event: Any) -> Any:
    """For structlog: the `exception` field, in place of structlog's own, which has the text of what was raised."""
    info = event.pop("exc_info", None)
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and isinstance(info[1], BaseException):
        event["exception"] = redact_traceback(info)
    return event


class NoValuesOfExceptions(logging.Filter):
    """Other libraries' lines: an exception among the arguments is logged as `redact_exception` has it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
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
