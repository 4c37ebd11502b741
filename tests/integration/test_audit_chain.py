"""The audit log: the database refuses to change it, chains it at commit, and any change that is made all the same is
found."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.support.at_once import at_once
from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from worker.ledger.database import transaction
from worker.ledger.writer.audit import audit
from worker.ledger.writer.resolve import Actor, discard, replay
from worker.privacy.audit import ChainCheck, verify


def write(ledger: Database, *actions: str) -> None:
    with transaction(ledger.engine) as connection:
        for action in actions:
            audit(connection, action, Actor("ada", "Ærø \\ \"'\n🏦"), {"n": 1.50, "a": None, "ø": ["x"]})


def walked(ledger: Database, expected: bytes | None = None) -> ChainCheck:
    with ledger.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        return verify(connection, expected=expected, tell=lambda *_: None)


def by_force(ledger: Database, statement: str) -> None:
    """Run a statement as a superuser who disables the triggers."""
    with psycopg.connect(ledger.url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'somebody else'",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log WHERE false",
        "TRUNCATE audit_log",
        "UPDATE audit_chain SET hash = ''",
        "DELETE FROM audit_chain",
        "TRUNCATE audit_chain",
        "INSERT INTO audit_chain (position, entry_id, hash) VALUES (99, 99, '')",
        "UPDATE audit_head SET entries = 0",
        "DELETE FROM audit_head",
        "TRUNCATE audit_head",
    ],
)
def test_nothing_in_the_audit_log_can_be_changed_or_deleted(ledger: Database, statement: str) -> None:
    write(ledger, "one", "two")

    with pytest.raises(InsufficientPrivilege, match="is append-only"):
        ledger.rows(statement)

    assert ledger.value("SELECT count(*) FROM audit_log") == 2
    assert walked(ledger).problems == []


def test_every_audit_entry_is_chained_and_can_be_verified(pipeline: Pipeline, variables: dict[str, str]) -> None:
    dead = [pipeline.submit(currencyCode="?") for _ in range(3)]
    with transaction(pipeline.engine) as connection:
        replay(connection, dead[:2], Actor("ada"), {"door": "test"})
        discard(connection, dead[2:], Actor("ada", "gone"), {})
    write(pipeline.ledger, "reveal")

    result = run(variables, "audit", "verify")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("4 entries verified\nhead ")
    head = result.stdout.split()[-1]
    # The head that is kept elsewhere is found in the chain as it grows
    write(pipeline.ledger, "reveal")
    grown = run(variables, "audit", "verify", "--expect", head)
    assert (grown.exit_code, "the expected head is entry 4" in grown.stdout) == (0, True)
    assert run(variables, "audit", "verify", "--expect", "x").exit_code == 2


def test_an_audit_entry_that_is_rolled_back_leaves_no_gap_in_the_chain(ledger: Database) -> None:
    write(ledger, "one")
    with ledger.engine.connect() as connection:
        audit(connection, "taken back", Actor("ada"), {})
        connection.rollback()
    write(ledger, "two")

    assert ledger.rows("SELECT position, entry_id FROM audit_chain ORDER BY 1") == [(1, 1), (2, 3)]
    assert walked(ledger).problems == []


def test_many_writers_at_once_make_one_chain(ledger: Database) -> None:
    """Each writer locks its own rows, in transactions of different length."""

    def act(n: int) -> None:
        for turn in range(15):
            write(ledger, *(f"{n}-{turn}-{k}" for k in range(1 + (n + turn) % 4)))

    at_once(8, act)

    walk = walked(ledger)
    assert walk.problems == []
    assert walk.position == ledger.value("SELECT count(*) FROM audit_log")
    # Each transaction's entries stand together: they were chained in one go
    entries = ledger.rows(
        "SELECT a.action FROM audit_chain c JOIN audit_log a ON a.id = c.entry_id ORDER BY c.position"
    )
    turns = [str(action).rpartition("-")[0] for (action,) in entries]
    assert len([t for t, before in zip(turns, [None, *turns], strict=False) if t != before]) == 8 * 15


def test_two_who_hold_each_other_s_rows_are_not_stopped_by_the_chain(ledger: Database) -> None:
    """The chain is locked last, so an uncommitted entry blocks nobody."""
    with ledger.engine.connect() as slow:
        began = slow.begin()
        audit(slow, "slow", Actor("ada"), {})
        write(ledger, "quick")  # would wait for ever if the lock were taken at the insert
        began.commit()

    assert ledger.rows("SELECT entry_id FROM audit_chain ORDER BY position") == [(2,), (1,)]
    assert walked(ledger).problems == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE audit_log SET note = 'another' WHERE id = 2", "entry 2 (place 2) was altered"),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE id = 2", "entry 2 (place 2) was altered"),
        ("UPDATE audit_log SET job_id = gen_random_uuid() WHERE id = 2", "entry 2 (place 2) was altered"),
        ("DELETE FROM audit_log WHERE id = 2", "entry 2 (place 2) was taken out"),
        ("DELETE FROM audit_chain WHERE position = 2", "place 2 is missing"),
        ("INSERT INTO audit_log (actor, action) VALUES ('eve', 'replay')", "entry 4 is not in the chain"),
        (
            "WITH c AS (DELETE FROM audit_chain WHERE position = 3) DELETE FROM audit_log WHERE id = 3",
            "should end at place 3",
        ),
    ],
)
def test_an_audit_entry_that_is_changed_by_force_is_found(
    ledger: Database, variables: dict[str, str], change: str, said: str
) -> None:
    write(ledger, "one", "two", "three")
    by_force(ledger, change)

    result = run(variables, "audit", "verify")

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


def test_a_tail_that_was_cut_off_with_all_traces_is_found_by_the_head_kept_elsewhere(
    ledger: Database, variables: dict[str, str]
) -> None:
    write(ledger, "one", "two", "three")
    head = run(variables, "audit", "verify").stdout.split()[-1]
    by_force(ledger, "DELETE FROM audit_log WHERE id = 3")
    by_force(ledger, "DELETE FROM audit_chain WHERE position = 3")
    by_force(
        ledger,
        "UPDATE audit_head SET entries = 2, hash = (SELECT hash FROM audit_chain WHERE position = 2)",
    )

    assert run(variables, "audit", "verify").exit_code == 0
    cut = run(variables, "audit", "verify", "--expect", head)
    assert (cut.exit_code, "nowhere in the chain" in cut.stderr) == (1, True)
