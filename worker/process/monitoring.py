"""What a worker shows to those who watch it: /metrics, /healthz and the liveness file; begun and ended with it.

The main process alone serves. Its children write their values into a folder that they share with it.
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
from worker.process.health_server import Answer, HealthServer, listen
from worker.process.liveness import Liveness
from worker.settings import Settings
from worker.telemetry.metrics import registry
from worker.telemetry.metrics.exposition import SharedFolder, shared, write_down

log = structlog.get_logger(__name__)


class Monitoring:
    """Everything by which one worker is watched."""

    def __init__(self, settings: Settings, fleet: FleetSettings) -> None:
        self._settings = settings
        self._fleet = fleet
        self._folder: SharedFolder | None = None
        self._server: HealthServer | None = None
        self.pulse = Liveness(fleet.liveness_file, stale_after=fleet.liveness)

    def begin(self) -> None:
        """In the main process, before it has children. Raises SettingsError."""
        self.pulse.begin()
        if self._fleet.metrics_port is None:
            return
        try:
            self._folder = SharedFolder(self._fleet.metrics_folder)
        except OSError as error:
            raise SettingsError(
                f"PROMETHEUS_MULTIPROC_DIR should name a folder that can be written: {error.strerror}"
            ) from None
        registry.open_shared_book(self._folder.path, _place)
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

    def child_begins(self) -> None:
        """In a child: values of its own, and no hold on the port, which a later worker may want."""
        if self._folder is not None:
            registry.open_shared_book(self._folder.path, _place)
        if self._server is not None and _place() != MAIN:
            with suppress(OSError):
                self._server.socket.close()

    def end(self) -> None:
        """In the main process, when the worker has stopped."""
        self.pulse.end()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._folder is not None:
            registry.close_book()
            # On SIGHUP Celery starts again in this environment, which is not to make the next folder inside this one.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._fleet.metrics_folder
            self._folder.remove()
            self._folder = None

    def _health(self) -> Answer:
        trouble = self.pulse.trouble()
        return (503, TEXT, ("\n".join(trouble) + "\n").encode()) if trouble else (200, TEXT, b"ok\n")


MAIN = "main"
TEXT = "text/plain; charset=utf-8"


def _place() -> str:
    """This process's place in the worker: a child that is started again takes its predecessor's."""
    index = getattr(current_process(), "index", None)
    return MAIN if index is None else f"child{index}"


def _metrics(collectors: list[Collector], accept: str | None) -> Answer:
    try:
        body, kind = write_down(collectors, accept)
    except struct.error:
        # A child makes its file just now: it is there, and empty yet.
        return 503, TEXT, b"a process starts just now; ask again\n"
    return 200, kind, body
