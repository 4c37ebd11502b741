"""Faults of the database: outages, aborted transactions, refused writes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psycopg

from tests.support.faults.catalog import Fault, Strike

# Raised inside PostgreSQL, in the worker's own statements. A sequence counts through rollbacks.
_REFUSE = """
CREATE SEQUENCE faults_count;
CREATE FUNCTION faults_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('faults_count') % {every} = 0 THEN
        RAISE EXCEPTION 'a fault on purpose' USING ERRCODE = '{sqlstate}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER faults_refuse BEFORE INSERT OR UPDATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION faults_refuse();
"""
_RELENT = """
DROP TRIGGER IF EXISTS faults_refuse ON jobs;
DROP FUNCTION IF EXISTS faults_refuse;
DROP SEQUENCE IF EXISTS faults_count;
"""


def _do(strike: Strike, *statements: str) -> None:
    with psycopg.connect(strike.stage.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextlib.contextmanager
def _refusing(strike: Strike, sqlstate: str, *, every: int) -> Iterator[None]:
    _do(strike, _REFUSE.format(sqlstate=sqlstate, every=every))
    try:
        yield
    finally:
        _do(strike, _RELENT)


def restarted(strike: Strike) -> None:
    """Stopped as an administrator would, and started again."""
    strike.stage.postgres.stop()
    strike.stage.postgres.start()


def killed(strike: Strike) -> None:
    """Killed, and started again: it recovers from its log."""
    strike.stage.postgres.kill()
    strike.stage.postgres.start()


def away(strike: Strike) -> None:
    """Gone for a while."""
    strike.stage.postgres.stop()
    time.sleep(strike.away)
    strike.stage.postgres.start()


def sessions_terminated(strike: Strike) -> None:
    """All sessions are terminated, three times."""
    for _ in range(3):
        _do(
            strike,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        time.sleep(0.3)


def deadlock(strike: Strike) -> None:
    """Every third writing statement is the victim of a deadlock."""
    with _refusing(strike, "40P01", every=3):
        time.sleep(strike.away)


def serialization_failure(strike: Strike) -> None:
    """Every third writing statement cannot be serialized."""
    with _refusing(strike, "40001", every=3):
        time.sleep(strike.away)


def disk_full(strike: Strike) -> None:
    """Nothing can be written: what PostgreSQL says when its disk is full."""
    with _refusing(strike, "53100", every=1):
        time.sleep(strike.away)


def read_only(strike: Strike) -> None:
    """A failover leaves a read-only server."""
    name = strike.stage.database_url.rpartition("/")[2]
    _do(strike, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    sessions_terminated(strike)
    time.sleep(strike.away)
    with psycopg.connect(strike.stage.postgres.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    sessions_terminated(strike)


def connections_cut(strike: Strike) -> None:
    """All connections are reset, three times."""
    for _ in range(3):
        strike.stage.ledger_proxy.cut()
        time.sleep(0.3)


def replies_lost(strike: Strike) -> None:
    """Statements and commits are executed, but connections break before the answer arrives."""
    strike.stage.ledger_proxy.replies_to_lose = 15
    time.sleep(1.5)
    strike.stage.ledger_proxy.heal()


def frozen(strike: Strike) -> None:
    """Connections lose all data for longer than a lease, then break."""
    strike.stage.ledger_proxy.freeze(new_too=True)
    time.sleep(strike.stage.lease * 1.3)
    strike.stage.ledger_proxy.heal()
    strike.stage.ledger_proxy.cut()


FAULTS = (
    Fault("ledger_restarted", "ledger", restarted),
    Fault("ledger_killed", "ledger", killed),
    Fault("ledger_away", "ledger", away),
    Fault("ledger_sessions_terminated", "ledger", sessions_terminated),
    Fault("ledger_deadlock", "ledger", deadlock),
    Fault("ledger_serialization_failure", "ledger", serialization_failure),
    Fault("ledger_disk_full", "ledger", disk_full),
    Fault("ledger_read_only", "ledger", read_only),
    Fault("ledger_connections_cut", "ledger", connections_cut),
    Fault("ledger_replies_lost", "ledger", replies_lost),
    Fault("ledger_frozen", "ledger", frozen),
)
