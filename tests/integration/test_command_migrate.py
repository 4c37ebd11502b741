"""`case-worker migrate`, and the other commands' errors about a missing, unmigrated or newer database."""

from __future__ import annotations

import pytest

from tests.support.command_line import run
from tests.support.databases import Database


def test_migrate_names_both_versions_and_can_be_run_again(empty_database: Database) -> None:
    variables = {"DATABASE_URL": empty_database.url}

    first = run(variables, "migrate")
    version = empty_database.value("SELECT version_num FROM alembic_version")
    second = run(variables, "migrate")

    assert first.stdout == f"Schema migrated from version none (an empty database) to version {version}.\n"
    assert second.stdout == f"The schema is already at version {version}; nothing to do.\n"
    assert (first.exit_code, second.exit_code) == (0, 0)


@pytest.mark.parametrize("command", [["status"], ["report"], ["replay", "--all"], ["enqueue", "-"]])
def test_other_commands_refuse_a_database_without_our_tables(empty_database: Database, command: list[str]) -> None:
    result = run({"DATABASE_URL": empty_database.url}, *command, stdin="")

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "run `case-worker migrate`" in result.stderr


def test_a_newer_database_is_left_alone(ledger: Database) -> None:
    version = ledger.value("SELECT version_num FROM alembic_version")
    ledger.rows("UPDATE alembic_version SET version_num = '9999'")
    oldest = ledger.value("SELECT oldest_code FROM schema_support")
    ledger.rows("UPDATE schema_support SET oldest_code = '9998'")
    try:
        result = run({"DATABASE_URL": ledger.url}, "migrate")
    finally:
        ledger.rows("UPDATE alembic_version SET version_num = %s", version)
        ledger.rows("UPDATE schema_support SET oldest_code = %s", oldest)

    assert result.exit_code == 2
    assert result.stderr.startswith("case-worker: the database's schema is at version 9999")
    assert "deploy newer code (version 9998 or newer)" in result.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "DATABASE_URL is not set"),
        ("mysql://u:geheim@h/x", "DATABASE_URL should start with"),
        ("postgresql://u:geheim@127.0.0.1:1/x", "refused"),
        ("postgresql://u:ge@heim@no-such-host.invalid/x", "cannot be resolved"),
        ("postgresql://u:geheim@h:port/x", "should look like"),
        ("postgresql://u:geheim@127.0.0.1:1/x?no_such_option=geheim", "option that PostgreSQL does not know"),
    ],
)
@pytest.mark.parametrize("command", ["migrate", "status"])
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(command: str, url: str, said: str) -> None:
    result = run({"DATABASE_URL": url}, command)

    assert result.exit_code == 2
    assert result.stderr.startswith("case-worker: ")
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr
    assert "geheim" not in result.stderr
    assert "heim" not in result.stderr
