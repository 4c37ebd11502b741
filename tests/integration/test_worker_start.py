"""A worker that can't start its monitoring ends at once, with one line that names the setting."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import clean_environment, program

Vars = dict[str, str]


def start(variables: Vars, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("celery"), "-A", "worker", "worker", "--concurrency", "1"],
        env=clean_environment() | variables | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_worker_whose_metrics_port_is_taken_ends_with_one_line(variables: Vars, taken: int, tmp_path: Path) -> None:
    done = start(variables, WORKER_METRICS_PORT=str(taken), PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    said = [line for line in done.stderr.splitlines() if line.startswith("case-worker: ")]
    assert done.returncode == 2
    assert len(said) == 1
    assert "WORKER_METRICS_PORT should be an address to listen on" in said[0]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_worker_whose_metrics_port_is_no_number_ends_with_one_line(variables: Vars) -> None:
    done = start(variables, WORKER_METRICS_PORT="http")
    assert (done.returncode, done.stderr) == (
        2,
        "case-worker: WORKER_METRICS_PORT should be a whole number from 0 to 65535, not 'http'\n",
    )
