"""Connections to the ledger: one engine per process, made on first use and never carried over a fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger(__name__)

T = TypeVar("T")
#: Seconds between two retries while the ledger can't be reached.
PAUSE = 0.25
_UNSET: object = object()
_lock = threading.Lock()
_engines: dict[str, Engine] = {}

#: psycopg and server settings (libpq names). A network that drops packets is noticed within about 15 s; no statement of
#: ours may run for minutes, and no transaction may stay open and idle. The rest is for the report: its tables are read
#: through indexes that are in memory, in less time than JIT compilation takes to start.
_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "case-worker",
    "options": (
        "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s -c timezone=UTC"
        " -c jit=off -c random_page_cost=1.1 -c work_mem=16MB"
    ),
}


def get_engine(url: str) -> Engine:
    """Return this process's engine for that database. Opens no connection by itself."""
    with _lock:
        if url not in _engines:
            _engines[url] = create_engine(
                url,
                connect_args=_CONNECT,
                pool_size=5,
                max_overflow=15,
                pool_recycle=1800,
                hide_parameters=True,  # the text of an error must not carry a debtor's data into a log
            )
        return _engines[url]


def forget_engines() -> None:
    """Drop all engines without closing their sockets, which still belong to the parent process.

    A connection that is opened before a fork and used on both sides returns other jobs' rows, so every child process
    starts without any.
    """
    global _lock  # noqa: PLW0603 - a fork may have copied the lock while another thread held it
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.dispose(close=False)
    _engines.clear()


if hasattr(os, "register_at_fork"):  # absent on Windows, which does not fork either
    os.register_at_fork(after_in_child=forget_engines)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Run one transaction: commit at the end, roll back on any exception."""
    with engine.begin() as connection:
        yield connection


def sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of the error; None if the server sent none."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction may work when retried: the connection was lost, or the server aborted it.

    True for a lost or refused connection, deadlock, serialization failure, lock timeout, shutdown, read-only server
    (failover), a full disk, and a transaction that was idle for too long (this process was frozen): none of them says
    anything about the data.
    """
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate(error)
    if state is None:
        return error.connection_invalidated or error.orig.__class__.__name__ in {
            "OperationalError",
            "InterfaceError",
        }
    return state[:2] in {"08", "53", "57", "58", "40"} or state in {"25006", "25P03", "55P03", "55006"}


def run_with_retry(
    engine: Engine, work: Callable[[Connection], T], *, until: Callable[[], bool], otherwise: T | object = _UNSET
) -> T:
    """Do the work in a transaction; while the ledger can't be reached, retry it until `until` returns true.

    The work must stay correct if its first commit succeeded and only the answer was lost: guard it by the state that it
    expects. When `until` ends the retries, raises the last DBAPIError, or returns `otherwise` if that was given. Any
    error that is not passing is raised at once.
    """
    while True:
        try:
            with transaction(engine) as connection:
                return work(connection)
        except DBAPIError as error:
            if not is_passing(error):
                raise
            state = sqlstate(error)
            away = state is None or state[:2] in {"08", "57"}
            event = "ledger_unreachable" if away else "database_not_writable"
            log.warning(event, error=type(error.orig).__name__, sqlstate=state)
            if until():
                if otherwise is _UNSET:
                    raise
                return otherwise  # type: ignore[return-value]  # T by the signature: the sentinel was ruled out above
        time.sleep(PAUSE)
