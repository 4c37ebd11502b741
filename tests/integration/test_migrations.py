"""Migrations: up, down and up again with rows in the tables, two migrators at once. (The wheel: test_packaging.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.support.databases import Database
from tests.support.later_version import next_version
from worker import enqueue_case
from worker.errors import SchemaMismatch
from worker.ledger import migrate

PROJECT = Path(__file__).parents[2]
#: Read, not imported: migrations/env.py migrates when it is imported.
ADVISORY_LOCK = int(re.findall(r"ADVISORY_LOCK = ([\d_]+)", (PROJECT / "migrations/env.py").read_text())[0])
KEPT = ["jobs", "attempts", "dead_letters", "audit_log"]
Rows = dict[str, list[dict[str, object]]]
CASE = {
    "debtor": {"type": "Company", "name": "Ærø Smedje", "countryAlpha2": "DK"},
    "currencyCode": "DKK",
    "amountToRecover": 100.5,
}


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def fill(database: Database) -> None:
    """Rows in every table of the first migration: a pending job, a dead one with its attempt, and what people did."""
    with Session(database.engine) as session, session.begin():
        enqueue_case(external_tenant_id="acme", case=CASE, idempotency_key="pending", session=session)
        dead = enqueue_case(external_tenant_id="acme", case=CASE, idempotency_key="dead", session=session)
    database.rows(
        "UPDATE jobs SET state = 'dead', attempt_count = 1, request_count = 1, last_error = 'HTTP 400' WHERE id = %s",
        dead.id,
    )
    database.rows(
        "INSERT INTO attempts (job_id, number, trigger, submission_key, worker, finished_at, http_status, outcome)"
        " SELECT id, 1, 'initial', submission_key, 'here:1', now(), 400, 'refused' FROM jobs WHERE id = %s",
        dead.id,
    )
    database.rows(
        "INSERT INTO dead_letters (job_id, reason, invalid_client_link, detail)"
        """ VALUES (%s, 'validation', false, '{"type": "InvalidRequest"}')""",
        dead.id,
    )
    database.rows("INSERT INTO audit_log (actor, action, job_id) VALUES ('ada', 'reveal', %s)", dead.id)


def everything(database: Database, tables: list[str]) -> Rows:
    """All rows of these tables, by column name, in a stable order."""
    with psycopg.connect(database.url, row_factory=dict_row) as connection:
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables}


def tables(database: Database) -> list[str]:
    return [
        str(name)
        for (name,) in database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    ]


def schema(database: Database) -> list[tuple[object, ...]]:
    """Columns, constraints and indexes, as PostgreSQL describes them."""
    return database.rows(
        "SELECT table_name, column_name, data_type || is_nullable || COALESCE(column_default, '')"
        " FROM information_schema.columns WHERE table_schema = 'public'"
        " UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace"
        " UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2, 3"
    )


def test_a_step_up_and_down_again_keeps_the_rows(database: Database, tmp_path: Path) -> None:
    # Given a ledger at this code's version, with rows in its tables
    fill(database)
    ours, full = schema(database), everything(database, KEPT)
    scripts = next_version(tmp_path)

    # When it goes up to a later version, each row is kept in all columns that both versions know
    migrate.upgrade(url_of(database), scripts=scripts)
    assert schema(database) != ours
    assert in_common(full, everything(database, KEPT))

    # And when it comes back, everything is as it was
    migrate.downgrade(url_of(database), "-1", scripts=scripts)
    assert (schema(database), everything(database, KEPT)) == (ours, full)


def in_common(older: Rows, newer: Rows) -> bool:
    """Whether all rows exist, with the same values in the columns that both versions have."""

    def shared(row: dict[str, object], other: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in row.items() if name in other}

    return all(
        [shared(row, newer[table][0]) for row in older[table]] == [shared(row, older[table][0]) for row in newer[table]]
        for table in newer
    )


def test_the_code_refuses_an_older_schema(database: Database) -> None:
    migrate.downgrade(url_of(database), "-1")

    with pytest.raises(SchemaMismatch, match="case-worker migrate"):
        migrate.require_suitable(database.engine)


def test_down_to_nothing_and_up_again_makes_the_same_schema(database: Database) -> None:
    fill(database)
    before = schema(database)

    migrate.downgrade(url_of(database), "base")
    assert tables(database) == ["alembic_version"]
    migrate.upgrade(url_of(database))

    assert schema(database) == before
    assert database.value("SELECT count(*) FROM dispatcher") == 1
    assert database.value("SELECT count(*) FROM jobs") == 0


def test_migrating_twice_changes_nothing(database: Database) -> None:
    before = schema(database)

    migrate.upgrade(url_of(database))

    assert schema(database) == before


@contextmanager
def migrators(database: Database, how_many: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that all migrate that database."""
    script = "import sys; from worker.ledger import migrate; migrate.upgrade(sys.argv[1])"
    started: list[subprocess.Popen[str]] = []
    with ExitStack() as ends:
        for _ in range(how_many):
            process = subprocess.Popen(
                [sys.executable, "-c", script, url_of(database)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT,
            )  # fmt: skip
            started.append(ends.enter_context(process))
            ends.callback(process.kill)
        yield started


def test_migrators_take_turns_however_long_one_takes(empty_database: Database) -> None:
    # Given a migrator that is at work: here, a session that holds the migrators' lock
    with psycopg.connect(empty_database.url, autocommit=True) as at_work:
        at_work.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])

        # When two more begin (a deployment with two machines), they wait: longer than for any other lock (4 s)
        with migrators(empty_database, 2) as waiting:
            patient = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid NOT IN (pg_backend_pid(), %s) AND backend_start < clock_timestamp() - interval '5 seconds'"
            )
            while empty_database.value(patient, at_work.info.backend_pid) != 2:
                assert [migrator.poll() for migrator in waiting] == [None, None]
                time.sleep(0.05)
            assert tables(empty_database) == []
            at_work.close()

            # Then both succeed, one after the other, and the schema is there once
            for migrator in waiting:
                output, _ = migrator.communicate(timeout=60)
                assert migrator.returncode == 0, output
    migrate.require_suitable(empty_database.engine)
    assert empty_database.value("SELECT count(*) FROM dispatcher") == 1


def test_a_table_in_use_makes_a_migration_give_up_soon(database: Database) -> None:
    # Given somebody who has a table open in a transaction
    with psycopg.connect(database.url) as somebody:
        somebody.execute("LOCK TABLE holds IN ACCESS SHARE MODE")

        # When a migration that drops the table cannot get its lock, it gives up, rather than stop those behind it
        with pytest.raises(DBAPIError, match="lock timeout"):
            migrate.downgrade(url_of(database), "base")

    # Then the table is as it was, and migrating can be tried again
    assert "holds" in tables(database)
    migrate.upgrade(url_of(database))
    migrate.require_suitable(database.engine)


def alembic(database: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The `alembic` command, as a developer calls it: configured by pyproject.toml and DATABASE_URL."""
    command = [str(Path(sys.executable).parent / "alembic"), *arguments]
    environment = {"DATABASE_URL": database.url, "PATH": os.defpath}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=PROJECT, timeout=60, check=False
    )


def test_the_alembic_command_upgrades_and_finds_models_and_migrations_in_agreement(empty_database: Database) -> None:
    upgraded = alembic(empty_database, "upgrade", "head")
    assert upgraded.returncode == 0, upgraded.stderr

    checked = alembic(empty_database, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "No new upgrade operations detected" in checked.stdout
