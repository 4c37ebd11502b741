"""What happens when a worker, or one of its children, starts and stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery, signals

from worker.batch import BatchRunner, worker_name
from worker.ledger.database import forget_engines
from worker.logs import configure_logs
from worker.queue import stopping
from worker.queue.dispatcher import Dispatcher
from worker.queue.publisher import CeleryPublisher
from worker.settings import Settings

log = structlog.get_logger(__name__)


class ProcessRunner:
    """This process's BatchRunner: made on first use, and anew in a child."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._runner: BatchRunner | None = None
        self._pid = 0

    def __call__(self) -> BatchRunner:
        with self._lock:
            if self._runner is None or self._pid != os.getpid():
                self._runner, self._pid = BatchRunner(self._settings, stopping=stopping.seconds), os.getpid()
            return self._runner

    def forget(self) -> None:
        """After a fork: the parent's connections are not ours."""
        self._lock = threading.Lock()
        self._runner = None


def connect_lifecycle(app: Celery, settings: Settings, runner: ProcessRunner) -> None:
    """Start and stop the dispatcher with the worker, and give every child connections of its own."""
    dispatchers: list[tuple[Dispatcher, threading.Thread]] = []

    def ready(**_: Any) -> None:
        stopping.forget()
        dispatcher = Dispatcher(settings, CeleryPublisher(app), name=worker_name())
        thread = threading.Thread(
            target=dispatcher.run,
            kwargs={"stopped": lambda: stopping.seconds() is not None},
            name="dispatcher",
            daemon=True,
        )
        dispatchers.append((dispatcher, thread))
        thread.start()

    def shutting_down(**_: Any) -> None:
        stopping.tell_all()
        log.info("worker_stopping", worker=worker_name())

    def shut_down(**_: Any) -> None:
        while dispatchers:
            dispatcher, thread = dispatchers.pop()
            dispatcher.stop()
            thread.join(5)

    def child_started(**_: Any) -> None:
        forget_engines()
        runner.forget()
        _stop_gently_on_sigterm()

    def set_up_logs(loglevel: int | str | None = None, **_: Any) -> None:
        configure_logs(loglevel if isinstance(loglevel, int) else 20)

    _connect(signals.worker_ready, ready)
    _connect(signals.worker_shutting_down, shutting_down)
    _connect(signals.worker_shutdown, shut_down)
    _connect(signals.worker_process_init, child_started)
    _connect(signals.setup_logging, set_up_logs)


def _connect(which: Any, receiver: Callable[..., None]) -> None:
    which.connect(receiver, weak=False)


def _stop_gently_on_sigterm() -> None:
    """A process manager signals the whole group, so children get SIGTERM beside their parent.

    By default it would kill them in the middle of a request; instead they hand back what has not left, and the parent's
    warm shutdown ends them.
    """
    signal.signal(signal.SIGTERM, lambda *_: stopping.tell_this_process())
