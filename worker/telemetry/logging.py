"""Structured logging: events with fixed names and fields, without personal data or secrets.

A tenant appears as a short keyed digest, so that logs don't reveal client ids. A plain hash is not enough: tenant ids
are short and can be guessed. The key is LOG_TENANT_KEY or, if unset, derived from DATABASE_URL, which all processes of
a deployment share and log readers don't know. `case-worker tenant-digest TENANT` prints the digest to search for.
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
from worker.telemetry.exception_redaction import ExceptionRedactionFilter, format_exception
from worker.telemetry.tracing import add_trace_ids

log = structlog.get_logger(__name__)


def configure_logs(level: int = logging.INFO) -> None:
    """Log one line per event: readable in a terminal, else JSON. Celery's log lines use the same handler."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
        # For every renderer, including the terminal's: no local variables and no exception texts.
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
    handler.addFilter(ExceptionRedactionFilter())
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
    # At INFO these log each request or message, with the request's URL.
    for chatty in ("urllib3", "requests", "kombu"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def log_uncaught() -> None:
    """Log uncaught exceptions redacted: Python's own traceback includes the exception's text."""

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
    """Replace `exc_info=True` with the current exception."""
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()
    return event


#: Minimum length of LOG_TENANT_KEY; a shorter key could be guessed.
SHORTEST_KEY = 16
#: Hexadecimal digits of a digest: enough to distinguish a million tenants.
DIGITS = 12
_LABEL = b"case-worker tenant digest"


def tenant_key(environ: Mapping[str, str]) -> bytes:
    """The digest key of this deployment. Raises SettingsError if it is too short."""
    given = setting_text(environ, "LOG_TENANT_KEY")
    if given and len(given) < SHORTEST_KEY:
        raise SettingsError(f"LOG_TENANT_KEY should have at least {SHORTEST_KEY} characters, chosen at random")
    material = given or setting_text(environ, "DATABASE_URL")
    return hmac.new(_LABEL, material.encode(), hashlib.sha256).digest()


def digest_with(key: bytes, tenant: str) -> str:
    """The tenant's digest with this key."""
    return hmac.new(key, tenant.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]


@lru_cache(maxsize=10_000)
def tenant_digest(tenant: str) -> str:
    """The tenant's digest with the key from this process's environment."""
    return digest_with(_own_key(), tenant)


@lru_cache(maxsize=1)
def _own_key() -> bytes:
    return tenant_key(os.environ)
