"""Fixtures for a job's life in this process: real PostgreSQL, Valkey and sandbox; the test runs each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from local_servers import LocalPostgres, LocalValkey

from tests.support.databases import TEMPLATE, Database, sqlalchemy_url
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from worker.ledger.database import get_engine
from worker.policy import brake
from worker.sandbox.server import SandboxServer
from worker.settings import Settings


@pytest.fixture
def sandbox(sandbox_server: SandboxServer) -> Iterator[Witness]:
    """The sandbox, reset."""
    with Witness(sandbox_server.url) as witness:
        witness.control("reset")
        yield witness


@pytest.fixture(scope="session")
def ledger_database(postgres: LocalPostgres) -> Iterator[Database]:
    """One migrated database, shared by all tests that only change rows."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE ledger TEMPLATE {TEMPLATE}")
    engine = get_engine(sqlalchemy_url(postgres.url, "ledger"))
    yield Database(f"{postgres.url.rsplit('/', 1)[0]}/ledger", engine)
    engine.dispose()


@pytest.fixture
def ledger(ledger_database: Database) -> Database:
    """An empty ledger. Emptying the shared one is ten times as fast as a new database."""
    # The audit log can be emptied only by who may switch its triggers off, as the tests' superuser may.
    ledger_database.rows(
        "DO $$ BEGIN SET LOCAL session_replication_role = replica;"
        " TRUNCATE jobs, attempts, dead_letters, audit_log, audit_chain, holds, api_use, operations, operation_items,"
        " case_versions, finished_days, circuit_closings RESTART IDENTITY;"
        " UPDATE audit_head SET entries = 0, hash = decode(repeat('00', 32), 'hex'); END $$"
    )
    # These have few rows at most, so that deleting them is quicker than a new file for each.
    ledger_database.rows(
        "DO $$ BEGIN DELETE FROM alerts; DELETE FROM alert_conditions; DELETE FROM webhook_events;"
        " DELETE FROM webhook_counts; DELETE FROM restores; DELETE FROM tenant_links;"
        " DELETE FROM accepted_verdicts; DELETE FROM past_holds;"
        " UPDATE alert_watch SET looked_at = NULL; UPDATE served_rounds SET round = 0;"
        " UPDATE dispatcher SET leader = NULL, lease_until = NULL, purged_on = NULL, unpublished_since = NULL; END $$"
    )
    ledger_database.rows("UPDATE pace SET next_at = now() - interval '1 hour'")
    return ledger_database


@pytest.fixture(autouse=True)
def links_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert about a client link waits until the brake can't take the flag back; a test need not."""
    monkeypatch.setattr(brake, "SETTLES_AFTER", 0.0)


@pytest.fixture
def variables(ledger: Database, valkey: LocalValkey, sandbox: Witness) -> dict[str, str]:
    """The environment of a worker on that ledger, with short waits so that a test can make several attempts."""
    return {
        "DATABASE_URL": ledger.url,
        "REDIS_URL": valkey.url,
        "DEBITURA_API_KEY": "sandbox-partner-key",
        "DEBITURA_REFERRAL_API_URL": sandbox.url,
        "DEBITURA_CUSTOMER_API_URL": sandbox.url,
        "WORKER_REQUEST_TIMEOUT_SECONDS": "3",
        "WORKER_MAX_ATTEMPTS": "3",
        "WORKER_RETRY_BASE_SECONDS": "2",
        "WORKER_RETRY_MAX_SECONDS": "60",
    }


@pytest.fixture
def new_pipeline(ledger: Database, variables: dict[str, str]) -> Iterator[Callable[..., Pipeline]]:
    """Make workers; keywords override environment variables."""
    made: list[Pipeline] = []

    def make(**changes: str) -> Pipeline:
        made.append(Pipeline(Settings.from_environment(variables | changes), ledger))
        return made[-1]

    yield make
    for pipeline in made:
        pipeline.close()


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """One worker."""
    return new_pipeline()
