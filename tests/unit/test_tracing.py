"""Tracing: reading a traceparent, when traces are on, and no cost when they are off."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SettingsError
from worker.telemetry.tracing import is_requested, parse_traceparent, trace_id_of

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_traceparent_is_read() -> None:
    assert parse_traceparent(GOOD) == GOOD
    assert trace_id_of(GOOD) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace_id_of(None) is None


@pytest.mark.parametrize(
    "value",
    [
        None, 7, b"00", "", "00-", GOOD.upper(), f"{GOOD}-more", f" {GOOD}", f"{GOOD}\n", GOOD.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)  # fmt: skip
def test_what_is_none_is_as_good_as_nothing(value: object) -> None:
    assert parse_traceparent(value) is None


@given(st.one_of(st.text(), st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)))
def test_whatever_is_taken_fits_the_ledger_and_a_header(value: str) -> None:
    taken = parse_traceparent(value)

    assert taken is None or (taken == value and len(taken) == 55 and taken.isascii() and taken.isprintable())


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_traces_are_taken_where_the_settings_ask_for_them(environ: dict[str, str], wanted: bool) -> None:
    assert is_requested(environ) is wanted


@pytest.mark.parametrize(
    "environ",
    [{"OTEL_TRACES_EXPORTER": "jaeger"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "otlp"}],
)
def test_a_setting_that_cannot_be_served_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(environ))):
        is_requested(environ)


def test_without_settings_nothing_is_imported_and_a_span_is_nothing() -> None:
    script = """
import sys
from worker import enqueue_case
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
import worker.submission.attempt, worker.submission.recorder, worker.cli
from worker.telemetry.tracing import start_tracing, current_traceparent, stop_tracing, span
assert not start_tracing({})
with span("x", job_id="1") as nothing:
    nothing.note(a=1)
    nothing.fail("b")
    assert current_traceparent() is None
stop_tracing()
assert "worker.telemetry.open_telemetry" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_settings_without_the_extra_are_a_warning_and_not_the_end() -> None:
    script = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name.startswith("opentelemetry") else found(name, *more)
from worker.telemetry.tracing import start_tracing
assert not start_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True)
    assert "tracing_not_installed" in done.stdout
