"""Traces, for those who want them: one from the enqueue through the queue to the API call, however late that comes.

Nothing here imports OpenTelemetry by itself. A process of ours does so when OTEL_… settings ask for traces
(`begin_tracing`); a web app that calls `enqueue_case()` may have done so for its own ends. In any other process a span
is nothing, and costs nothing. What joins the parts is the W3C traceparent that each job carries.
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

#: https://www.w3.org/TR/trace-context/#traceparent-header, version 00; ids of zeros alone are none.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_EXPORTERS = ("otlp", "console", "none")
_PROTOCOL = "http/protobuf"
#: What the extra brings.
_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")

Attribute = str | int | float | bool


class Span(Protocol):
    """A piece of work that is being timed."""

    def note(self, **attributes: Attribute | None) -> None:
        """Add facts; never a debtor's data, a token, a body or a tenant's plain id. None is left out."""

    def fail(self, kind: str) -> None:
        """It did not go well, for that kind of reason."""


class NoSpan:
    """Stands where nobody takes traces."""

    def note(self, **attributes: Attribute | None) -> None:
        """Nobody wants to know."""

    def fail(self, kind: str) -> None:
        """Nobody wants to know."""


_NO_SPAN = NoSpan()


def parse_traceparent(value: object) -> str | None:
    """The W3C traceparent, if that is one; anything else is as good as none."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace's id in a W3C traceparent."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return found[1] if found else None


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the OTEL_… settings ask for traces. Raises SettingsError for a value that cannot be served."""

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
    somewhere = value("OTEL_EXPORTER_OTLP_ENDPOINT") or value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter in ("otlp", "console") or (exporter == "" and bool(somewhere))


def is_installed() -> bool:
    """Whether the extra is there, all of it: a part of OpenTelemetry may have come with something else."""
    try:
        return None not in [importlib.util.find_spec(module) for module in _MODULES]
    except ModuleNotFoundError:
        return False


def begin_tracing(environ: Mapping[str, str]) -> bool:
    """Send this process's spans to where the OTEL_… settings say. Returns whether there is such a place.

    Called in the process that does the work, after any fork. A platform may set OTEL_… for all that it runs, so without
    the extra it is a warning, not the end. Raises SettingsError.
    """
    if not is_wanted(environ):
        return False
    if not is_installed():
        log.warning("tracing_not_installed", install="case-worker[otel]")
        return False
    from worker.telemetry import open_telemetry  # noqa: PLC0415 - only where traces are wanted

    open_telemetry.begin(environ)
    return True


def end_tracing() -> None:
    """Send what is still unsent, and send no more."""
    if "worker.telemetry.open_telemetry" in sys.modules:
        sys.modules["worker.telemetry.open_telemetry"].end()


@contextmanager
def span(
    name: str, *, kind: str = "internal", parent: str | None = None, **attributes: Attribute | None
) -> Iterator[Span]:
    """A span around a piece of work: below `parent` (a traceparent) where one is given, else below the current one.

    `kind`: internal, client, producer or consumer. An exception that passes is noted by its type only, since its text
    may hold anything.
    """
    if (backend := _backend()) is None:
        yield _NO_SPAN
        return
    with backend.span(name, kind=kind, parent=parent, attributes=attributes) as active:
        yield active


def request_span(method: str, route: str) -> AbstractContextManager[Span]:
    """A span around one HTTP request. `route` is a pattern: an address may hold a debtor's reference."""
    return span(f"{method} {route}", kind="client", http__request__method=method, http__route=route)


def current_traceparent() -> str | None:
    """The W3C traceparent of the current span; None without one."""
    backend = _backend()
    traceparent: str | None = backend.current_traceparent() if backend else None
    return traceparent


def add_trace_ids(_logger: Any, _method: str, event: Any) -> Any:
    """For structlog: `trace_id` and `span_id` of the current span, so that log lines and traces find each other."""
    if (traceparent := current_traceparent()) and "trace_id" not in event:
        _, event["trace_id"], event["span_id"], _ = traceparent.split("-")
    return event


def _backend() -> Any:
    """OpenTelemetry, if somebody in this process takes its spans.

    That it was imported says little: redis-py does so wherever it is installed.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return None
    from worker.telemetry import open_telemetry  # noqa: PLC0415 - only where OpenTelemetry is there already

    return open_telemetry
