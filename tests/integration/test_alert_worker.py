"""Alerts from a real worker process: the leader sends them, and a hanging receiver delays nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from celery import signals

from tests.support.alert_receiver import AlertReceiver
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from worker.alerts.lifecycle import connect_alerts
from worker.alerts.settings import AlertSettings
from worker.settings import Settings

Vars = dict[str, str]
CELERY = [
    sys.executable,
    "-m",
    "celery",
    "-A",
    "worker",
    "worker",
    "--pool",
    "threads",
    "--loglevel",
    "INFO",
    "-c",
    "1",
]
ALONE = ["--without-gossip", "--without-mingle"]


@contextmanager
def celery_worker(variables: Vars, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`celery -A worker worker` as a process."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*CELERY, *ALONE], env={**os.environ, **variables}, stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended, and its children with it
                os.killpg(process.pid, signal.SIGKILL)


def test_a_worker_tells_of_a_new_cause_while_another_receiver_hangs(
    pipeline: Pipeline, ledger: Database, variables: Vars, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    # Given a receiver that takes connections and never answers, and one that is well
    with AlertReceiver() as receiver, socket.create_server(("127.0.0.1", 0)) as silent:
        urls = f"http://127.0.0.1:{silent.getsockname()[1]}/s3cret-path {receiver.url}"
        refused = pipeline.enqueue(currencyCode="?", creditorReference="geheim-1")

        # When a worker submits a case that is refused
        with celery_worker({**variables, "ALERT_WEBHOOK_URLS": urls}, log) as worker:
            told = receiver.next()

            # Then the one that is well is told, cases go on being submitted, and the worker stops when it is told to
            fine = pipeline.enqueue()
            while pipeline.job(fine)["state"] != "submitted":
                assert worker.poll() is None
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0

    assert told["kind"] == "new_failure_group"
    assert told["facts"]["groups"][0]["reason"] == "validation"
    assert pipeline.job(refused)["state"] == "dead"
    lines = log.read_text()
    assert "alert_delivered" in lines
    assert "s3cret-path" not in lines
    assert "geheim-1" not in lines


def test_without_receivers_nothing_is_started_at_all(settings: Settings) -> None:
    before = [len(s.receivers or []) for s in (signals.worker_ready, signals.worker_shutdown)]

    connect_alerts(settings, AlertSettings.from_environment({}))

    assert [len(s.receivers or []) for s in (signals.worker_ready, signals.worker_shutdown)] == before


def test_a_bad_setting_ends_the_worker_at_its_start_in_one_line(variables: Vars) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import worker.celery"], env={**os.environ, **variables, "ALERT_WEBHOOK_URLS": "geheim"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.startswith("case-worker: ALERT_WEBHOOK_URLS should be https://")
    assert "geheim" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
