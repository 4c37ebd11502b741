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
#: Seconds between two tries while the ledger cannot be reached.
PAUSE = 0.25
_UNSET: object = object()
_lock = threading.Lock()
_engines: dict[str, Engine] = {}

#: psycopg and server settings (libpq names). A network that swallows packets is noticed within about 15 s; no
#: statement of ours may run for minutes, and nobody may sit in an open transaction. The rest is for the report: its
#: tables are read through indexes that lie in memory, in less time than a compiler needs to begin.
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
    """This process's engine for that database. Opens no connection by itself."""
    with _lock:
        if url not in _engines:
            _engines[url] = create_engine(
                url,
                connect_args=_CONNECT,
                pool_size=5,
                max_overflow=15,
                pool_recycle=1800,
                hide_parameters=True,  # the text of an error must not carry a debtor's data into somebody's log
            )
        return _engines[url]


def forget_engines() -> None:
    """Drop all engines without closing their sockets, which still belong to the parent process.

    A connection that was opened before a fork and used on both sides returns other jobs' rows; so every child process
    begins with none.
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
    """One transaction: committed at the end, rolled back on any exception."""
    with engine.begin() as connection:
        yield connection


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's own code of the error; None where the server said nothing."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction may work when tried again: the connection was lost, or the server gave it up.

    True for a lost or refused connection, deadlock, serialization failure, lock timeout, shutdown, read-only moment
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
    """Do that work in a transaction; while the ledger cannot be reached, do it again, until `until` says enough.

    The work must be right when its first commit went through and only the answer was lost: guarded by the state that it
    expects. Raises the last DBAPIError when it was enough, or returns `otherwise` if that was given; any error that is
    not a passing one is raised at once.
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
