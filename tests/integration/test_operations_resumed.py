"""Bulk operations that are cancelled, or interrupted and resumed by another process."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.exc import OperationalError

from tests.support.databases import Database
from tests.support.operations import items, leases_end, operation, previewed, started, states
from tests.support.rows import insert_dead_job
from tests.support.until import until
from tests.support.web_visitor import Visitor
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter, Operation
from worker.ledger.writer import operations as writer
from worker.ledger.writer.resolve import Actor
from worker.report import operations
from worker.report.operations import Step, run, run_step
from worker.report.runner import OperationRunner
from worker.report.web import application
from worker.settings import Settings


def test_cancelling_stops_at_the_next_chunk_and_keeps_what_is_done(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [insert_dead_job(ledger) for _ in range(3)]
    monkeypatch.setattr(operations, "CHUNK", 1)
    number = started(ledger, previewed(ledger))

    def cancel(_: object) -> None:
        with transaction(ledger.engine) as connection:
            assert writer.cancel(connection, number, Actor("bob", "wrong ones"), {"door": "test"})

    assert run(ledger.engine, number, watch=cancel)

    told = operation(ledger, number)
    assert (told.state, told.done, told.cancelled_by, told.message) == ("cancelled", 1, "bob", "cancelled by bob")
    assert [ledger.value("SELECT state FROM jobs WHERE id = %s", job) for job in jobs] == ["pending", "dead", "dead"]
    asked = "SELECT note, detail->>'door' FROM audit_log WHERE action = 'operation_cancelled'"
    assert ledger.rows(asked) == [("wrong ones", "test")]
    with transaction(ledger.engine) as connection:
        assert not writer.cancel(connection, number, Actor("bob"), {"door": "test"})


def test_an_operation_that_nobody_carries_out_is_cancelled_at_once(ledger: Database) -> None:
    insert_dead_job(ledger)
    number = started(ledger, previewed(ledger))

    with transaction(ledger.engine) as connection:
        writer.cancel(connection, number, Actor("bob"), {"door": "test"})

    assert operation(ledger, number).state == "cancelled"
    assert run(ledger.engine, number)
    assert states(ledger) == ["dead"]


def test_another_process_goes_on_where_a_dead_one_left_off(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an operation whose process died between two chunks: its lease still runs
    jobs = [insert_dead_job(ledger) for _ in range(3)]
    monkeypatch.setattr(operations, "CHUNK", 1)
    number = started(ledger, previewed(ledger))
    dead = uuid4()
    with transaction(ledger.engine) as connection:
        assert run_step(connection, number, lease=dead)[0] is Step.CONTINUE
    assert operation(ledger, number).carried_out

    # When another one comes too early, it leaves it alone
    with transaction(ledger.engine) as connection:
        assert queries.abandoned_operations(connection) == []
        assert run_step(connection, number, lease=uuid4()) == (Step.FINISHED, None)

    # And once the lease is over, it does the rest
    leases_end(ledger)
    with transaction(ledger.engine) as connection:
        assert queries.abandoned_operations(connection) == [number]
    assert run(ledger.engine, number)

    assert [item.job_id for item in items(ledger, number)] == jobs
    assert ledger.value("SELECT count(*) FROM audit_log WHERE action = 'replay'") == 3
    # And the dead one, should it still live, has nothing left to do
    with transaction(ledger.engine) as connection:
        assert run_step(connection, number, lease=dead) == (Step.FINISHED, None)


def test_a_chunk_that_fails_is_undone_as_a_whole(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_dead_job(ledger)
    number = started(ledger, previewed(ledger))

    def broken(*_: Any, **__: Any) -> None:
        raise OperationalError("INSERT", {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(writer, "advance", broken)
        with pytest.raises(OperationalError):
            run(ledger.engine, number)
    assert states(ledger) == ["dead"]
    assert items(ledger, number) == []

    assert run(ledger.engine, number)
    assert operation(ledger, number).done == 1


def test_a_process_that_stops_gently_leaves_the_rest_at_once(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        insert_dead_job(ledger)
    monkeypatch.setattr(operations, "CHUNK", 1)
    number = started(ledger, previewed(ledger))
    seen: list[object] = []

    assert not run(ledger.engine, number, watch=seen.append, stopping=lambda: bool(seen))

    assert (operation(ledger, number).done, operation(ledger, number).carried_out) == (1, False)
    assert run(ledger.engine, number)
    assert operation(ledger, number).done == 3


def test_several_processes_carry_out_an_operation_and_act_on_each_job_once(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        insert_dead_job(ledger)
    monkeypatch.setattr(operations, "CHUNK", 3)
    number = started(ledger, previewed(ledger))

    threads = [threading.Thread(target=run, args=(ledger.engine, number)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert operation(ledger, number).done == 20
    assert ledger.value("SELECT count(*) FROM audit_log WHERE action = 'replay'") == 20


def until_over(ledger: Database, number: int) -> Operation:
    for _ in range(400):
        told = operation(ledger, number)
        if told.state != "running":
            return told
        threading.Event().wait(0.025)
    raise AssertionError(f"operation {number} is not over: {told}")


def test_the_runner_takes_up_what_was_started_and_what_was_left(ledger: Database) -> None:
    # Given one operation that a dead process left, and a runner
    insert_dead_job(ledger, "a")
    left = started(ledger, previewed(ledger, FailureFilter(tenant="a")), lease=uuid4())
    leases_end(ledger)
    runner = OperationRunner(ledger.engine, every=60)
    runner.start()
    try:
        assert until_over(ledger, left).state == "done"

        # When another one is started and the runner is told
        insert_dead_job(ledger, "b")
        new = started(ledger, previewed(ledger, FailureFilter(tenant="b")))
        runner.kick()

        assert until_over(ledger, new).done == 1
    finally:
        runner.stop()


def test_a_canary_that_waits_keeps_nobody_from_their_turn(ledger: Database) -> None:
    # Given a canary whose first job nobody takes, in a process that carries out one operation at a time
    insert_dead_job(ledger, "a")
    insert_dead_job(ledger, "a")
    canary = started(ledger, previewed(ledger, FailureFilter(tenant="a")), canary=True)
    runner = OperationRunner(ledger.engine, most=1, every=0.05)
    runner.start()
    try:
        # When somebody wants something else
        insert_dead_job(ledger, "b")
        other = started(ledger, previewed(ledger, FailureFilter(tenant="b")))

        # Then it is done, while the canary goes on waiting
        assert until_over(ledger, other).state == "done"
        assert operation(ledger, canary).state == "running"
    finally:
        runner.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_fails_for_good_is_stopped_with_a_word(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_dead_job(ledger)
    number = started(ledger, previewed(ledger))

    def broken(*_: Any, **__: Any) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(operations, "_act", broken)
    runner = OperationRunner(ledger.engine, every=60)
    runner.start()
    try:
        told = until_over(ledger, number)
    finally:
        runner.stop()

    assert told.state == "stopped"
    assert "TypeError" in str(told.message)
    assert states(ledger) == ["dead"]


def test_a_database_that_refuses_for_a_while_costs_nobody_their_operation(
    database: Database, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "OperationRunner", partial(OperationRunner, every=0.02))
    monkeypatch.setattr("worker.report.runner.MAX_PAUSE", 0.05)
    job = insert_dead_job(database)
    number = started(database, previewed(database))
    here = {**variables, "DATABASE_URL": database.url}
    visitor = Visitor(application.create_application(Settings.from_environment(here), database.engine, here))
    # Given that the page's process may not read what there is to do
    database.rows("ALTER TABLE operations RENAME TO away")
    with visitor.http:  # starts what the page does in the background
        until("it is not ready", lambda: "cannot run" in visitor.get("/readyz").text, within=10)

        # When somebody fixes that
        database.rows("ALTER TABLE away RENAME TO operations")

        # Then it goes on without a new start
        until("it is ready again", lambda: visitor.get("/readyz").text == "ready\n", within=10)
        until("the operation is done", lambda: operation(database, number).state == "done", within=10)
    assert database.value("SELECT state FROM jobs WHERE id = %s", job) == "pending"
