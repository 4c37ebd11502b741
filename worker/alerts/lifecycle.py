"""Start and stop the alert threads together with the worker."""

from __future__ import annotations

import threading
import time
from typing import Any

import structlog
from celery import signals

from worker.alerts.delivery import Delivery
from worker.alerts.loop import Loop
from worker.alerts.settings import AlertSettings
from worker.alerts.watch import AlertWatch
from worker.ledger.database import get_engine
from worker.settings import Settings
from worker.submission.batch import worker_name

log = structlog.get_logger(__name__)

#: Seconds to wait for all threads to end. A thread that is still waiting for a receiver is abandoned: its alert becomes
#: due again by itself.
JOIN_TIMEOUT = 1.0


class Alerts:
    """One worker's alert threads: the watch, and a delivery thread for each receiver."""

    def __init__(self, settings: Settings, alerts: AlertSettings, *, name: str) -> None:
        engine = get_engine(settings.database_url)
        deliveries = [Delivery(target, alerts, engine, name=name) for target in alerts.targets]
        self._parts: list[Loop] = [AlertWatch(alerts, engine, name=name), *deliveries]
        self._threads = [
            threading.Thread(target=part.run, name=f"alerts-{number}", daemon=True)
            for number, part in enumerate(self._parts)
        ]

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop all threads, waiting at most JOIN_TIMEOUT seconds."""
        for part in self._parts:
            part.stop()
        until = time.monotonic() + JOIN_TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


def connect_alerts(settings: Settings, alerts: AlertSettings) -> None:
    """Start and stop alerts with the worker. Without receivers, do nothing."""
    if not alerts.targets:
        return
    running: list[Alerts] = []

    def ready(**_: Any) -> None:
        running.append(Alerts(settings, alerts, name=worker_name()))
        running[-1].start()
        log.info("alerts_on", receivers=[receiver.host for receiver in alerts.receivers])

    def shutting_down(**_: Any) -> None:
        while running:
            running.pop().stop()

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutdown.connect(shutting_down, weak=False)
