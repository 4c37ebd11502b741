"""Fleet settings: defaults, and one line per error."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from worker.cli.check_settings import Verdict, check_settings, setting_names
from worker.errors import SettingsError
from worker.fleet.settings import FleetSettings


def test_without_settings_the_fleet_settings_have_their_defaults() -> None:
    assert asdict(FleetSettings.from_environment({})) == {
        "metrics_port": None,
        "metrics_host": "127.0.0.1",
        "metrics_folder": "",
        "liveness_file": "",
        "liveness": 60,
        "concurrency": 2,
        "scaling_minimum": 0,
        "scaling_drain": 60,
    }


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("WORKER_METRICS_PORT", "9808", "metrics_port", 9808),
        ("WORKER_METRICS_PORT", "0", "metrics_port", 0),
        ("WORKER_METRICS_HOST", "0.0.0.0", "metrics_host", "0.0.0.0"),
        ("PROMETHEUS_MULTIPROC_DIR", "/run/x", "metrics_folder", "/run/x"),
        ("WORKER_LIVENESS_FILE", "/run/alive", "liveness_file", "/run/alive"),
        ("WORKER_LIVENESS_SECONDS", "5.5", "liveness", 5.5),
        ("WORKER_CONCURRENCY", "8", "concurrency", 8),
        ("WORKER_SCALING_MINIMUM", "3", "scaling_minimum", 3),
        ("WORKER_SCALING_DRAIN_SECONDS", "300", "scaling_drain", 300),
    ],
)
def test_what_is_set_is_used(name: str, value: str, field: str, expected: object) -> None:
    assert asdict(FleetSettings.from_environment({name: value}))[field] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_METRICS_PORT", "65536"),
        ("WORKER_METRICS_PORT", "-1"),
        ("WORKER_METRICS_PORT", "http"),
        ("WORKER_LIVENESS_SECONDS", "0"),
        ("WORKER_LIVENESS_SECONDS", "nan"),
        ("WORKER_CONCURRENCY", "0"),
        ("WORKER_CONCURRENCY", "²"),
        ("WORKER_SCALING_MINIMUM", "-1"),
        ("WORKER_SCALING_DRAIN_SECONDS", "a minute"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        FleetSettings.from_environment({name: value})
    assert str(caught.value).startswith(f"{name} should be a ")
    assert "\n" not in str(caught.value)


def test_the_doctor_knows_the_fleet_settings() -> None:
    assert {"WORKER_METRICS_PORT", "WORKER_LIVENESS_SECONDS", "WORKER_SCALING_MINIMUM"} <= set(setting_names())
    given = {"WORKER_METRICS_PORT": "http", "WORKER_LIVENESS_FILE": "/run/alive"}
    found = {finding.name: finding for finding in check_settings(given)}
    assert found["WORKER_METRICS_PORT"].verdict is Verdict.FAILED
    assert "WORKER_LIVENESS_FILE" not in found, "it is not called unknown"
    assert found["WORKER_CONCURRENCY"].verdict is Verdict.OK
