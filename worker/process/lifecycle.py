"""What happens when a worker, or one of its children, starts and stops."""

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
from worker.telemetry.tracing import begin_tracing, end_tracing

log = structlog.get_logger(__name__)

#: Seconds after its last task in which a child that was told to go waits for its parent to end it.
LAST_WORDS = 1.0
#: Seconds after which a worker that was told to stop is gone, whatever holds it up: a silent broker, a ledger that is
#: away. What it held comes back by its lease and by the broker; a process manager would kill it at ten seconds.
STOPS_WITHIN = 9.5


class ThisProcess:
    """What tasks need of the process they run in: its BatchRunner, and to be left in peace until they are done."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.schema = SchemaGate(settings.database_url)
        self.reset_after_fork()
        self._in_child = False

    def reset_after_fork(self) -> None:
        """After a fork: the parent's connections and locks are not ours."""
        self._lock = threading.Lock()
        self._runner: BatchRunner | None = None
        self._busy = 0
        self._traces = False
        self._in_child = True

    def runner(self) -> BatchRunner:
        """The process's BatchRunner, made on first use."""
        with self._lock:
            if self._runner is None:
                self._runner = BatchRunner(self._settings, stopping=shutdown.seconds)
            return self._runner

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Around a task: a SIGTERM to this child waits until its end.

        Raises RuntimeError in place of MemoryError, for which Celery would end the whole worker.
        """
        if self._in_child and threading.current_thread() is threading.main_thread():
            # Here, and not when the child starts: the pool takes all handlers away again after that.
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
            if shutdown.told_alone() and not self._busy:
                # The result still has to reach the parent, whose own shutdown ends us in the usual case.
                threading.Timer(LAST_WORDS, _die_of_sigterm).start()

    def _begin_tracing(self) -> None:
        """With the first task, and not before the fork: a connection to a collector must not be shared with it."""
        with self._lock:
            begun, self._traces = self._traces, True
        if not begun:
            try:
                begin_tracing(os.environ)
            except Exception as error:  # noqa: BLE001 - cases go on without traces
                log.error("tracing_failed", error=type(error).__name__)  # noqa: TRY400 - the type says enough

    def on_sigterm(self, *_: object) -> None:
        """In a child. A process manager signals the whole group, so children get SIGTERM beside their parent.

        By default it would end them in the middle of a request. Instead they hand back what has not left, finish the
        rest, and go.
        """
        shutdown.tell_this_process()
        if not self._busy:
            _die_of_sigterm()


def _die_of_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        os._exit(128 + signal.SIGTERM)


def _end_now() -> None:
    log.warning("worker_stop_forced", worker=worker_name(), seconds=STOPS_WITHIN)
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    os._exit(1)


def connect_lifecycle(
    settings: Settings, this_process: ThisProcess, watching: Monitoring, publisher: Publisher
) -> None:
    """Start and stop the dispatcher with the worker, and give every child its own connections."""
    dispatchers: list[tuple[Dispatcher, threading.Thread]] = []

    def set_up(**_: Any) -> None:
        try:
            watching.begin()
        except SettingsError as error:
            sys.stderr.write(f"case-worker: {error}\n")
            sys.exit(2)

    def ready(**_: Any) -> None:
        shutdown.forget()
        if not settings.encryption_keys:
            log.warning("cases_not_encrypted", setting="CASE_ENCRYPTION_KEYS")
        dispatcher = Dispatcher(settings, publisher, name=worker_name(), may_begin=this_process.schema.passes)
        thread = threading.Thread(
            target=dispatcher.run,
            kwargs={"stopped": lambda: shutdown.seconds() is not None, "beat": watching.pulse.dispatcher_beats},
            name="dispatcher",
            daemon=True,
        )
        dispatchers.append((dispatcher, thread))
        thread.start()
        watching.pulse.watch(thread)

    def begins(**_: Any) -> None:
        this_process.schema.begin()

    def shutting_down(**_: Any) -> None:
        if shutdown.seconds() is None:
            deadline = threading.Timer(STOPS_WITHIN, _end_now)
            deadline.daemon = True
            deadline.start()
        shutdown.tell_all()
        log.info("worker_stopping", worker=worker_name())

    def shut_down(**_: Any) -> None:
        while dispatchers:
            dispatcher, thread = dispatchers.pop()
            dispatcher.stop()
            thread.join(5)
        watching.end()
        end_tracing()

    def child_ends(**_: Any) -> None:
        end_tracing()

    def child_started(**_: Any) -> None:
        forget_engines()
        this_process.reset_after_fork()
        watching.child_begins()

    def set_up_logs(loglevel: int | str | None = None, **_: Any) -> None:
        configure_logs(loglevel if isinstance(loglevel, int) else logging.INFO)
        log_uncaught()

    _connect(signals.celeryd_init, begins)
    _connect(signals.celeryd_after_setup, set_up)
    _connect(signals.worker_ready, ready)
    _connect(signals.worker_shutting_down, shutting_down)
    _connect(signals.worker_shutdown, shut_down)
    _connect(signals.worker_process_init, child_started)
    _connect(signals.worker_process_shutdown, child_ends)
    _connect(signals.setup_logging, set_up_logs)


def _connect(which: Any, receiver: Callable[..., None]) -> None:
    which.connect(receiver, weak=False)
