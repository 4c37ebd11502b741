"""Log events with a fixed name and fields; no values in the name, no personal data and no secrets in the fields.

A tenant appears as a short keyed digest, so that a reader of logs learns no client's id. A plain hash would not do:
tenant ids are short and can be guessed and hashed in turn. The key is LOG_TENANT_KEY or, if unset, derived from
DATABASE_URL, which all processes of a deployment share and no reader of logs knows. `case-worker tenant-digest TENANT`
prints what to search for.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any

import structlog

from worker.environment import setting_text
from worker.errors import SettingsError
from worker.telemetry.exception_redaction import NoValuesOfExceptions, format_exception
from worker.telemetry.tracing import add_trace_ids

log = structlog.get_logger(__name__)


def configure_logs(level: int = logging.INFO) -> None:
    """One line per event: readable in a terminal, JSON elsewhere. Celery's own lines pass through the same handler."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
        # Before anything is written, also in a terminal: no locals, and no text of an exception.
        structlog.processors.StackInfoRenderer(),
        _exc_info,
        format_exception,
    ]
    in_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if in_terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.addFilter(NoValuesOfExceptions())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # At INFO these two say one line for each request or message, and the request's line has its URL in it.
    for chatty in ("urllib3", "requests", "kombu"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def log_uncaught() -> None:
    """Have what nobody catches end in a line of ours too: Python's own traceback has the exception's text in it."""

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("process_failed", exc_info=error)

    def of_thread(failed: threading.ExceptHookArgs) -> None:
        if not issubclass(failed.exc_type, SystemExit):
            log.critical("thread_failed", thread=failed.thread and failed.thread.name, exc_info=failed.exc_value)

    sys.excepthook = of_process
    threading.excepthook = of_thread


def _exc_info(_logger: Any, _method: str, event: Any) -> Any:
    """`exc_info=True` stands for the exception that is being handled."""
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()
    return event


#: Characters of a key that somebody gives; a shorter one could be guessed.
SHORTEST_KEY = 16
#: Hexadecimal digits of a digest: enough to tell a million tenants apart.
DIGITS = 12
_LABEL = b"case-worker tenant digest"


def tenant_key(environ: Mapping[str, str]) -> bytes:
    """The key of this deployment. Raises SettingsError for one that is too short."""
    given = setting_text(environ, "LOG_TENANT_KEY")
    if given and len(given) < SHORTEST_KEY:
        raise SettingsError(f"LOG_TENANT_KEY should have at least {SHORTEST_KEY} characters, chosen at random")
    material = given or setting_text(environ, "DATABASE_URL")
    return hmac.new(_LABEL, material.encode(), hashlib.sha256).digest()


def digest_with(key: bytes, tenant: str) -> str:
    """The tenant's digest under that key."""
    return hmac.new(key, tenant.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]


@lru_cache(maxsize=10_000)
def tenant_digest(tenant: str) -> str:
    """The tenant's digest in this process, whose environment has the key."""
    return digest_with(_own_key(), tenant)


@lru_cache(maxsize=1)
def _own_key() -> bytes:
    return tenant_key(os.environ)
