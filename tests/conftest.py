"""Real servers for all tests: PostgreSQL and Valkey, started once per session, and one database per test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from local_servers import LocalPostgres, LocalValkey

from tests.support.databases import TEMPLATE, Database, sqlalchemy_url
from worker.ledger import migrate
from worker.ledger.database import get_engine
from worker.sandbox.server import SandboxServer
from worker.settings import Settings

# The tests say what they need; what the machine's environment has must not leak in.
for name in [
    n
    for n in os.environ
    if n.partition("_")[0]
    in {"WORKER", "DEBITURA", "DATABASE", "REDIS", "CELERY", "ALERT", "REPORT", "CASE", "PURGE", "PROMETHEUS", "OTEL"}
    or n.startswith("LOG_TENANT")
]:
    del os.environ[name]


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres(durable=False) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate.upgrade(sqlalchemy_url(server.url, TEMPLATE))
        yield server


@pytest.fixture
def database(postgres: LocalPostgres) -> Iterator[Database]:
    with new_database(postgres, "test", f"TEMPLATE {TEMPLATE}") as database:
        yield database


@pytest.fixture
def empty_database(postgres: LocalPostgres) -> Iterator[Database]:
    """A database without any migration."""
    with new_database(postgres, "empty") as database:
        yield database


@contextmanager
def new_database(postgres: LocalPostgres, kind: str, source: str = "") -> Iterator[Database]:
    name = f"{kind}_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {source}")
    engine = get_engine(sqlalchemy_url(postgres.url, name))
    yield Database(f"{postgres.url.rsplit('/', 1)[0]}/{name}", engine)
    engine.dispose()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[LocalValkey]:
    with LocalValkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: LocalValkey) -> LocalValkey:
    """The session's Valkey, emptied."""
    client = valkey_server.client()
    client.flushall()
    client.close()
    return valkey_server


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def environment(database: Database, valkey: LocalValkey, sandbox_server: SandboxServer) -> dict[str, str]:
    """The environment variables of a deployment, for worker processes and commands."""
    return {
        "DATABASE_URL": database.url,
        "REDIS_URL": valkey.url,
        "DEBITURA_API_KEY": "sandbox-partner-key",
        "DEBITURA_REFERRAL_API_URL": sandbox_server.url,
        "DEBITURA_CUSTOMER_API_URL": sandbox_server.url,
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return Settings.from_environment(environment)
