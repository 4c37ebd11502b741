"""Optional tracing: one trace from the enqueue through the queue to the API call, however late that is.

This module does not import OpenTelemetry. `start_tracing` does if OTEL_… settings request traces; a web app that calls
`enqueue_case()` may have imported it for its own traces. In other processes spans are no-ops. Each job carries a W3C
traceparent, which connects the parts of the trace.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import structlog

from worker.errors import SettingsError

log = structlog.get_logger(__name__)

#: https://www.w3.org/TR/trace-context/#traceparent-header, version 00; all-zero ids are invalid.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_EXPORTERS = ("otlp", "console", "none")
_PROTOCOL = "http/protobuf"
#: Modules that the extra `otel` installs.
_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")

Attribute = str | int | float | bool


class Span(Protocol):
    """A span of a trace."""

    def note(self, **attributes: Attribute | None) -> None:
        """Set attributes, without personal data, tokens, bodies or plain tenant ids. None values are skipped."""

    def fail(self, kind: str) -> None:
        """Mark the span as failed with this error type."""


class NoOpSpan:
    """The span when tracing is off."""

    def note(self, **attributes: Attribute | None) -> None:
        """Nobody wants to know."""

    def fail(self, kind: str) -> None:
        """Nobody wants to know."""


_NO_OP_SPAN = NoOpSpan()


def parse_traceparent(value: object) -> str | None:
    """The value if it is a valid W3C traceparent, else None."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id in a W3C traceparent."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return found[1] if found else None


def is_requested(environ: Mapping[str, str]) -> bool:
    """Whether the OTEL_… settings request traces. Raises SettingsError for an unsupported value."""

    def value(name: str) -> str:
        return environ.get(name, "").strip()

    if value("OTEL_SDK_DISABLED").lower() == "true":
        return False
    exporter = value("OTEL_TRACES_EXPORTER")
    if exporter and exporter not in _EXPORTERS:
        raise SettingsError(f"OTEL_TRACES_EXPORTER should be {' or '.join(_EXPORTERS)}, not {exporter!r}")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if value(name) not in ("", _PROTOCOL) and exporter in ("", "otlp"):
            raise SettingsError(f"{name} should be {_PROTOCOL}, not {value(name)!r}")
    endpoint = value("OTEL_EXPORTER_OTLP_ENDPOINT") or value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter in ("otlp", "console") or (exporter == "" and bool(endpoint))


def is_installed() -> bool:
    """Whether the whole extra is installed: other packages may install parts of OpenTelemetry."""
    try:
        return None not in [importlib.util.find_spec(module) for module in _MODULES]
    except ModuleNotFoundError:
        return False


def start_tracing(environ: Mapping[str, str]) -> bool:
    """Start to export this process's spans as the OTEL_… settings say. Returns whether traces are exported.

    Call it in the working process, after any fork. A platform may set OTEL_… for all its programs, so a missing extra
    is only a warning. Raises SettingsError.
    """
    if not is_requested(environ):
        return False
    if not is_installed():
        log.warning("tracing_not_installed", install="case-worker[otel]")
        return False
    from worker.telemetry import open_telemetry  # noqa: PLC0415 - only if traces are requested

    open_telemetry.start(environ)
    return True


def stop_tracing() -> None:
    """Export the remaining spans and stop tracing."""
    if "worker.telemetry.open_telemetry" in sys.modules:
        sys.modules["worker.telemetry.open_telemetry"].stop()


@contextmanager
def span(
    name: str, *, kind: str = "internal", parent: str | None = None, **attributes: Attribute | None
) -> Iterator[Span]:
    """Open a span: a child of `parent` (a traceparent) if given, else of the current span.

    `kind`: internal, client, producer or consumer. An exception is recorded by its type only, because its text may
    contain personal data.
    """
    if (backend := _backend()) is None:
        yield _NO_OP_SPAN
        return
    with backend.span(name, kind=kind, parent=parent, attributes=attributes) as active:
        yield active


def request_span(method: str, route: str) -> AbstractContextManager[Span]:
    """A span for one HTTP request. `route` is a pattern: the real path may contain a debtor's reference."""
    return span(f"{method} {route}", kind="client", http__request__method=method, http__route=route)


def current_traceparent() -> str | None:
    """The W3C traceparent of the current span, or None."""
    backend = _backend()
    traceparent: str | None = backend.current_traceparent() if backend else None
    return traceparent


def add_trace_ids(_logger: Any, _method: str, event: Any) -> Any:
    """A structlog processor: add `trace_id` and `span_id` of the current span, to link logs and traces."""
    if (traceparent := current_traceparent()) and "trace_id" not in event:
        _, event["trace_id"], event["span_id"], _ = traceparent.split("-")
    return event


def _backend() -> Any:
    """The OpenTelemetry backend if this process has a tracer provider, else None.

    Checking the import is not enough: redis-py imports OpenTelemetry if it is installed.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return None
    from worker.telemetry import open_telemetry  # noqa: PLC0415 - only if OpenTelemetry is already imported

    return open_telemetry
