"""A worker's monitoring: /metrics, /healthz and the liveness file.

Only the main process serves. Its children write their values into a shared folder.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

import structlog
from billiard import current_process
from prometheus_client.registry import Collector

from worker.errors import SettingsError
from worker.fleet.reading import FleetReader, LedgerGauges
from worker.fleet.settings import FleetSettings
from worker.ledger.database import get_engine
from worker.process.health_server import HealthServer, PageResponse, listen
from worker.process.liveness import Liveness
from worker.settings import Settings
from worker.telemetry.metrics import registry
from worker.telemetry.metrics.exposition import SharedFolder, render, shared

log = structlog.get_logger(__name__)


class Monitoring:
    """The monitoring of one worker."""

    def __init__(self, settings: Settings, fleet: FleetSettings) -> None:
        self._settings = settings
        self._fleet = fleet
        self._folder: SharedFolder | None = None
        self._server: HealthServer | None = None
        self.liveness = Liveness(fleet.liveness_file, stale_after=fleet.liveness)

    def begin(self) -> None:
        """Start in the main process, before it forks. Raises SettingsError."""
        self.liveness.begin()
        if self._fleet.metrics_port is None:
            return
        try:
            self._folder = SharedFolder(self._fleet.metrics_folder)
        except OSError as error:
            raise SettingsError(f"PROMETHEUS_MULTIPROC_DIR should name a writable folder: {error.strerror}") from None
        registry.enable_shared_metrics(self._folder.path, _slot)
        gauges = LedgerGauges(FleetReader(self._settings, self._fleet, get_engine(self._settings.database_url)))
        folder = shared(self._folder.path)
        pages = {
            "/metrics": lambda accept: _metrics([folder, gauges], accept),
            "/healthz": lambda _accept: self._health(),
        }
        try:
            self._server = listen(self._fleet.metrics_host, self._fleet.metrics_port, pages)
        except SettingsError:
            self.end()
            raise
        self._server.start()
        log.info("metrics_served", host=self._fleet.metrics_host, port=self._server.port)

    def start_in_child(self) -> None:
        """Open the child's own values, and close its copy of the port, which a later worker may need."""
        if self._folder is not None:
            registry.enable_shared_metrics(self._folder.path, _slot)
        if self._server is not None and _slot() != MAIN:
            with suppress(OSError):
                self._server.socket.close()

    def end(self) -> None:
        """Stop in the main process, after the worker has stopped."""
        self.liveness.end()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._folder is not None:
            registry.disable_metrics()
            # On SIGHUP Celery restarts in this environment, and must not create its folder inside this one.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._fleet.metrics_folder
            self._folder.remove()
            self._folder = None

    def _health(self) -> PageResponse:
        problems = self.liveness.problems()
        return (503, TEXT, ("\n".join(problems) + "\n").encode()) if problems else (200, TEXT, b"ok\n")


MAIN = "main"
TEXT = "text/plain; charset=utf-8"


def _slot() -> str:
    """This process's slot in the worker: a restarted child reuses its predecessor's."""
    index = getattr(current_process(), "index", None)
    return MAIN if index is None else f"child{index}"


def _metrics(collectors: list[Collector], accept: str | None) -> PageResponse:
    try:
        body, kind = render(collectors, accept)
    except struct.error:
        # A child is creating its file, which is still empty.
        return 503, TEXT, b"a process is starting; try again\n"
    return 200, kind, body
