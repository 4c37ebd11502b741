"""Start and stop a worker and its child processes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from billiard import active_children
from celery import signals

from worker.dispatch.dispatcher import Dispatcher, Publisher
from worker.errors import SettingsError
from worker.ledger.database import forget_engines
from worker.process import shutdown
from worker.process.monitoring import Monitoring
from worker.process.schema_gate import SchemaGate
from worker.settings import Settings
from worker.submission.batch import BatchRunner, worker_name
from worker.telemetry.logging import configure_logs, log_uncaught
from worker.telemetry.tracing import start_tracing, stop_tracing

log = structlog.get_logger(__name__)

#: Seconds that a stopping child waits after its last task, so that the result reaches the parent.
RESULT_GRACE_SECONDS = 1.0
#: Seconds after which a stopping worker exits in any case, even if the broker or ledger does not respond. Leases and
#: the broker recover its work. Process managers kill after ten seconds.
SHUTDOWN_TIMEOUT = 9.5


class ThisProcess:
    """State of the current process for its tasks: the BatchRunner, and protection from SIGTERM while a task runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.schema = SchemaGate(settings.database_url)
        self.reset_after_fork()
        self._in_child = False

    def reset_after_fork(self) -> None:
        """Discard the parent's connections and locks after a fork."""
        self._lock = threading.Lock()
        self._runner: BatchRunner | None = None
        self._busy = 0
        self._traces = False
        self._in_child = True

    def runner(self) -> BatchRunner:
        """The process's BatchRunner, created on first use."""
        with self._lock:
            if self._runner is None:
                self._runner = BatchRunner(self._settings, stopping=shutdown.seconds)
            return self._runner

    @contextmanager
    def running_task(self) -> Iterator[None]:
        """Run a task and delay SIGTERM to this child until it ends.

        Raises RuntimeError instead of MemoryError, because Celery stops the whole worker for the latter.
        """
        if self._in_child and threading.current_thread() is threading.main_thread():
            # Not at the child's start: the pool resets all handlers after that.
            signal.signal(signal.SIGTERM, self.on_sigterm)
        self._begin_tracing()
        with self._lock:
            self._busy += 1
        try:
            yield
        except MemoryError:
            raise RuntimeError("this process has no memory left") from None
        finally:
            with self._lock:
                self._busy -= 1
            if shutdown.requested_for_this_process() and not self._busy:
                # The result must still reach the parent, which normally stops this child.
                threading.Timer(RESULT_GRACE_SECONDS, _die_of_sigterm).start()

    def _begin_tracing(self) -> None:
        """Start tracing with the first task: a collector connection made before the fork would be shared."""
        with self._lock:
            begun, self._traces = self._traces, True
        if not begun:
            try:
                start_tracing(os.environ)
            except Exception as error:  # noqa: BLE001 - submit cases even without traces
                log.error("tracing_failed", error=type(error).__name__)  # noqa: TRY400 - the type says enough

    def on_sigterm(self, *_: object) -> None:
        """Handle SIGTERM in a child: process managers signal the whole group, not only the parent.

        The default action would end it in the middle of a request. Instead, requeue the jobs not sent yet, finish the
        others, and exit.
        """
        shutdown.request_for_this_process()
        if not self._busy:
            _die_of_sigterm()


def _die_of_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        os._exit(128 + signal.SIGTERM)


def _end_now() -> None:
    log.warning("worker_stop_forced", worker=worker_name(), seconds=SHUTDOWN_TIMEOUT)
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    os._exit(1)


def connect_lifecycle(
    settings: Settings, this_process: ThisProcess, monitoring: Monitoring, publisher: Publisher
) -> None:
    """Start and stop the dispatcher with the worker, and give each child its own connections."""
    dispatchers: list[tuple[Dispatcher, threading.Thread]] = []

    def set_up(**_: Any) -> None:
        try:
            monitoring.begin()
        except SettingsError as error:
            sys.stderr.write(f"case-worker: {error}\n")
            sys.exit(2)

    def ready(**_: Any) -> None:
        shutdown.reset()
        if not settings.encryption_keys:
            log.warning("cases_not_encrypted", setting="CASE_ENCRYPTION_KEYS")
        dispatcher = Dispatcher(settings, publisher, name=worker_name(), may_begin=this_process.schema.passes)
        thread = threading.Thread(
            target=dispatcher.run,
            kwargs={
                "stopped": lambda: shutdown.seconds() is not None,
                "beat": monitoring.liveness.dispatcher_heartbeat,
            },
            name="dispatcher",
            daemon=True,
        )
        dispatchers.append((dispatcher, thread))
        thread.start()
        monitoring.liveness.watch(thread)

    def initialize(**_: Any) -> None:
        this_process.schema.check_at_start()

    def shutting_down(**_: Any) -> None:
        if shutdown.seconds() is None:
            deadline = threading.Timer(SHUTDOWN_TIMEOUT, _end_now)
            deadline.daemon = True
            deadline.start()
        shutdown.request_for_all()
        log.info("worker_stopping", worker=worker_name())

    def shut_down(**_: Any) -> None:
        while dispatchers:
            dispatcher, thread = dispatchers.pop()
            dispatcher.stop()
            thread.join(5)
        monitoring.end()
        stop_tracing()

    def child_stopped(**_: Any) -> None:
        stop_tracing()

    def child_started(**_: Any) -> None:
        forget_engines()
        this_process.reset_after_fork()
        monitoring.start_in_child()

    def set_up_logs(loglevel: int | str | None = None, **_: Any) -> None:
        configure_logs(loglevel if isinstance(loglevel, int) else logging.INFO)
        log_uncaught()

    _connect(signals.celeryd_init, initialize)
    _connect(signals.celeryd_after_setup, set_up)
    _connect(signals.worker_ready, ready)
    _connect(signals.worker_shutting_down, shutting_down)
    _connect(signals.worker_shutdown, shut_down)
    _connect(signals.worker_process_init, child_started)
    _connect(signals.worker_process_shutdown, child_stopped)
    _connect(signals.setup_logging, set_up_logs)


def _connect(which: Any, receiver: Callable[..., None]) -> None:
    which.connect(receiver, weak=False)
