"""The OpenTelemetry backend of `tracing`. Imported only if OpenTelemetry is installed and requested."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from worker.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_KINDS = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
#: Seconds to export the remaining spans at process exit.
FLUSH_TIMEOUT = 3.0
_VERSION = version("case-worker")
_providers: list[TracerProvider] = []


class ActiveSpan:
    """Implements `worker.telemetry.tracing.Span` with an OpenTelemetry span."""

    def __init__(self, inner: trace.Span) -> None:
        self._inner = inner

    def note(self, **attributes: str | float | bool | None) -> None:
        """Set attributes in our namespace; a name with `__` for dots is one of OpenTelemetry's."""
        for name, value in attributes.items():
            if value is not None:
                self._inner.set_attribute(_attribute(name), value)

    def fail(self, kind: str) -> None:
        """Mark the span as failed."""
        self._inner.set_attribute("error.type", kind)
        self._inner.set_status(Status(StatusCode.ERROR))


@contextmanager
def span(
    name: str, *, kind: str, parent: str | None, attributes: Mapping[str, str | float | bool | None]
) -> Iterator[ActiveSpan]:
    """See `worker.telemetry.tracing.span`."""
    tracer = trace.get_tracer("case-worker", _VERSION)
    with tracer.start_as_current_span(
        name,
        context=_context_of(parent) if parent else None,
        kind=_KINDS[kind],
        # Both would record the exception's text.
        record_exception=False,
        set_status_on_exception=False,
    ) as inner:
        active = ActiveSpan(inner)
        active.note(**attributes)
        try:
            yield active
        except BaseException as error:
            active.fail(type(error).__name__)
            raise


def current_traceparent() -> str | None:
    """See `worker.telemetry.tracing.current_traceparent`."""
    found = trace.get_current_span().get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}" if found.is_valid else None


def start(environ: Mapping[str, str]) -> None:
    """Start to export spans as the OTEL_… settings say; OpenTelemetry's SDK reads most of them.

    Use an existing provider (auto-instrumentation) if there is one. Raises SettingsError.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the SDK is slow to import
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SpanExporter,
    )

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    exporter: SpanExporter
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() == "console":
        exporter = ConsoleSpanExporter()
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        try:
            exporter = OTLPSpanExporter()
        except ValueError as error:
            raise SettingsError(f"an OTEL_EXPORTER_OTLP_… setting cannot be used: {error}") from None
    resource = Resource.create({} if named else {"service.name": "case-worker"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _providers.append(provider)


def stop() -> None:
    """Export the remaining spans, with a timeout: an unreachable collector must not delay the exit."""
    while _providers:
        # A daemon thread, because the SDK retries for longer than we wait.
        last = threading.Thread(target=_providers.pop().shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(FLUSH_TIMEOUT)


def _attribute(name: str) -> str:
    return name.replace("__", ".") if "__" in name else f"case_worker.{name}"


def _context_of(traceparent: str) -> Context:
    _, trace_id, span_id, flags = traceparent.split("-")
    remote = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(remote))
