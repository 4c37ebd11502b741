"""Two versions of the code on one database: the older one runs while the schema allows it, or says why not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from local_servers import LocalPostgres
from processes import Child, clean_environment
from processes import program as path_of
from sqlalchemy.orm import Session

from tests.support.command_line import line, run
from tests.support.databases import TEMPLATE, Database, sqlalchemy_url
from tests.support.later_version import next_version
from tests.support.sandbox_witness import Witness
from tests.support.until import until
from worker import enqueue_case
from worker.ledger import migrate
from worker.ledger.database import get_engine
from worker.ledger.schema_version import DatabaseSchema
from worker.report.web.application import create_application
from worker.settings import Settings

PROJECT = Path(__file__).parents[2]
CASE = {"debtor": {"type": "Company", "name": "Smedje ApS", "countryAlpha2": "DK"}, "currencyCode": "DKK",
        "amountToRecover": 100.5, "creditorReference": "INV-1"}  # fmt: skip
WORKER = ["-A", "worker", "worker", "--concurrency", "1", "--without-gossip", "--without-mingle"]
Vars = dict[str, str]


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


@pytest.fixture
def newer(database: Database, tmp_path: Path) -> Database:
    """A database migrated by a later version that this version can still use."""
    migrate.upgrade(url_of(database), scripts=next_version(tmp_path))
    return database


@pytest.fixture
def too_new(database: Database, tmp_path: Path) -> Database:
    """A database migrated by a later version that this version can't use."""
    migrate.upgrade(url_of(database), scripts=next_version(tmp_path, oldest='oldest_code = "9001"'))
    return database


def on(environment: Vars, database: Database) -> Vars:
    return environment | {"DATABASE_URL": database.url}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture
def worker(log: Path) -> Iterator[list[Child]]:
    """Workers that were started, to be ended."""
    started: list[Child] = []
    yield started
    for child in started:
        child.stop()


def start(started: list[Child], variables: Vars, log: Path) -> Child:
    started.append(Child("worker", [path_of("celery"), *WORKER], environment=variables, log=log))
    return started[-1]


def submitted(database: Database) -> bool:
    return database.value("SELECT count(*) FROM jobs WHERE state = 'submitted'") == 1


def test_the_database_tells_with_each_step_which_code_it_suits(database: Database, tmp_path: Path) -> None:
    scripts = next_version(tmp_path, oldest='oldest_code = "9001"')
    newest = migrate.code_schema().newest
    assert migrate.database_schema(database.engine) == DatabaseSchema(newest, "0001")

    migrate.upgrade(url_of(database), scripts=scripts)
    assert migrate.database_schema(database.engine) == DatabaseSchema("9001", "9001")

    migrate.downgrade(url_of(database), "-1", scripts=scripts)
    assert migrate.database_schema(database.engine) == DatabaseSchema(newest, "0001")


def test_a_worker_of_the_older_version_starts_on_the_newer_schema_and_does_its_jobs(
    newer: Database, environment: Vars, sandbox: Witness, worker: list[Child], log: Path
) -> None:
    variables = on(environment, newer)
    enqueued = run(variables, "enqueue", "-", stdin=line(CASE))
    assert enqueued.exit_code == 0, enqueued.output

    start(worker, variables, log)

    until("the job is submitted", lambda: submitted(newer), within=40, but=log.read_text)
    assert newer.rows("SELECT state, colour FROM jobs") == [("submitted", "grey")]
    assert len(sandbox.cases()) == 1
    assert run(variables, "status").exit_code == 0
    assert "newer than this code" in run(variables, "doctor").stdout
    assert "compatible" in run(variables, "migrate").stdout
    settings = Settings.from_environment(variables)
    create_application(settings, newer.engine, variables)  # as `web` does, after the same check as `status`


@pytest.mark.parametrize("command", [["status"], ["web", "--port", "0"], ["migrate"], ["report"]])
def test_commands_of_the_older_version_refuse_a_schema_that_no_longer_suits_them(
    too_new: Database, environment: Vars, command: list[str]
) -> None:
    done = run(on(environment, too_new), *command)

    assert done.exit_code == 2
    assert done.stderr.startswith("case-worker: the database's schema is at version 9001, and this code needs ")
    assert done.stderr.endswith("deploy newer code (version 9001 or newer)\n")
    assert len(done.stderr.splitlines()) == 1


def celery_worker(variables: Vars) -> subprocess.CompletedProcess[str]:
    """A worker that is expected to refuse."""
    return subprocess.run(
        [path_of("celery"), *WORKER], env=clean_environment() | variables, capture_output=True, text=True, timeout=60,
        check=False, cwd=PROJECT,
    )  # fmt: skip


def test_an_older_worker_refuses_a_schema_that_no_longer_suits_it_in_one_line(
    too_new: Database, environment: Vars
) -> None:
    done = celery_worker(on(environment, too_new))

    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line] == [
        "case-worker: the database's schema is at version 9001, and this code needs"
        f" {migrate.code_schema().newest}; the database is newer and no longer suits this code: deploy newer code"
        " (version 9001 or newer)"
    ]


@pytest.fixture
def later(postgres: LocalPostgres) -> Iterator[list[str]]:
    """The names of two databases that don't exist yet."""
    names = [f"later_{uuid4().hex[:12]}" for _ in range(2)]
    yield names
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def appear(postgres: LocalPostgres, name: str, template: str) -> Database:
    """Create the missing database as a copy of another."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return Database(f"{postgres.url.rsplit('/', 1)[0]}/{name}", get_engine(sqlalchemy_url(postgres.url, name)))


def waits(log: Path) -> bool:
    return "dispatcher_waits_for_ledger" in log.read_text()


def test_a_database_that_is_away_at_the_start_is_waited_for_and_then_looked_at(
    postgres: LocalPostgres, later: list[str], too_new: Database, environment: Vars, sandbox: Witness,
    worker: list[Child], tmp_path: Path,
) -> None:  # fmt: skip
    # Given two workers whose databases are away
    logs = [tmp_path / "suits.log", tmp_path / "does-not.log"]
    for number, (name, log) in enumerate(zip(later, logs, strict=True)):
        # and each with a broker of its own, as any ledger has
        broker = f"{environment['REDIS_URL'].rsplit('/', 1)[0]}/{number}"
        database_url = f"{postgres.url.rsplit('/', 1)[0]}/{name}"
        start(worker, environment | {"DATABASE_URL": database_url, "REDIS_URL": broker}, log)
    for log in logs:
        until(
            "it waits", lambda log=log: "dispatcher_waits_for_ledger" in log.read_text(), within=40, but=log.read_text
        )

    # When one comes that suits, and one that does not
    too_new.engine.dispose()
    appear(postgres, later[1], too_new.url.rsplit("/", 1)[1]).engine.dispose()
    database = appear(postgres, later[0], TEMPLATE)
    with Session(database.engine) as session, session.begin():
        enqueue_case(external_tenant_id="acme", case=CASE, session=session)

    # Then the first worker does its job, and the second ends, saying why
    until("the job is submitted", lambda: submitted(database), within=40, but=logs[0].read_text)
    worker[0].require_alive()
    until("it ends", lambda: worker[1].process.poll() is not None, within=40, but=logs[1].read_text)
    assert worker[1].process.returncode == 2
    assert logs[1].read_text().count("deploy newer code (version 9001 or newer)") == 1
    database.engine.dispose()
