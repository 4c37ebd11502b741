"""Bulk operations: confirmed as previewed, done in chunks, resumable, cancelled, audited."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection

from tests.support.databases import Database
from tests.support.operations import items, operation, previewed, started, states
from tests.support.pipeline import Pipeline
from tests.support.rows import insert_dead_job, insert_unreadable_message
from worker.errors import OperationNotFound, SelectionChanged
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter
from worker.ledger.states import Verb
from worker.ledger.writer import resolve
from worker.ledger.writer.resolve import Actor
from worker.policy.replay_plan import ReplayPlan
from worker.report import operations
from worker.report.operations import run


def test_a_preview_says_what_would_be_done_and_does_nothing(ledger: Database) -> None:
    insert_dead_job(ledger, "a", amount="10.50")
    insert_dead_job(ledger, "a", amount="2", reference="R1", unknown=True)
    insert_dead_job(ledger, "b", amount=None, currency=None, unknown=True)
    insert_unreadable_message(ledger)

    made = previewed(ledger)

    found = made.selected
    assert (found.jobs, found.tenants, found.messages, made.count) == (3, 2, 1, 3)
    assert (found.amounts, found.without_amount) == ({"DKK": "12.5000"}, 1)
    assert found.plans == {ReplayPlan.NEW_KEY: 1, ReplayPlan.LOOK_UP_FIRST: 1, ReplayPlan.SAME_KEY: 1}
    assert [skipped.what for skipped in made.skipped] == ["1 unreadable message"]
    assert previewed(ledger, verb=Verb.DISCARD).count == 4
    assert states(ledger) == ["dead"] * 3
    assert ledger.value("SELECT count(*) FROM operations") == 0


def test_an_operation_does_what_was_confirmed_and_keeps_the_result(ledger: Database) -> None:
    # Given three failures of the selection, one of another tenant, and one that dies after the preview
    jobs = [insert_dead_job(ledger, "a") for _ in range(3)]
    insert_dead_job(ledger, "b")
    made = previewed(ledger, FailureFilter(tenant="a"))
    late = insert_dead_job(ledger, "a")

    # When it is confirmed and carried out
    number = started(ledger, made)
    assert run(ledger.engine, number)

    # Then these three were replayed, and it is written down job by job
    told = operation(ledger, number)
    assert (told.state, told.verb, told.actor, told.note) == ("done", "replay", "ada", "the client has signed")
    assert (told.jobs, told.tenants, told.done, told.skipped, told.amounts) == (3, 1, 3, 0, {"DKK": "300.0000"})
    assert told.filter["tenant"] == "a"
    results = items(ledger, number)
    assert [item.job_id for item in results] == jobs
    assert {(item.outcome, item.why, item.state_now) for item in results} == {("replayed", None, "pending")}
    assert ledger.value("SELECT state FROM jobs WHERE id = %s", late) == "dead"
    assert ledger.value("SELECT count(*) FROM jobs WHERE state = 'dead'") == 2


def test_everything_is_audited_for_the_operation_and_for_each_job(ledger: Database) -> None:
    jobs = {insert_dead_job(ledger, "a"), insert_dead_job(ledger, "a")}
    number = started(ledger, previewed(ledger, FailureFilter(tenant="a")))
    run(ledger.engine, number)

    log = ledger.rows("SELECT actor, action, job_id, note, detail FROM audit_log ORDER BY id")

    assert {(entry[0], entry[3]) for entry in log} == {("ada", "the client has signed")}
    assert [entry[1] for entry in log] == ["operation_started", "replay", "replay", "operation_finished"]
    assert {entry[2] for entry in log if entry[1] == "replay"} == jobs
    details: list[Any] = [entry[4] for entry in log]
    assert {detail["operation"] for detail in details} == {number}
    assert (details[0]["filter"]["tenant"], details[0]["jobs"], details[0]["door"]) == ("a", 2, "test")
    assert (details[-1]["state"], details[-1]["done"], details[-1]["skipped"]) == ("done", 2, 0)


def test_messages_are_discarded_and_never_replayed(ledger: Database) -> None:
    job = insert_dead_job(ledger)
    message = insert_unreadable_message(ledger)

    number = started(ledger, previewed(ledger))
    run(ledger.engine, number)
    assert [(item.job_id, item.outcome) for item in items(ledger, number)] == [(job, "replayed"), (None, "skipped")]
    assert "cannot be replayed" in str(items(ledger, number)[1].why)

    number = started(ledger, previewed(ledger, FailureFilter(letters=(message,)), Verb.DISCARD))
    run(ledger.engine, number)
    assert [(item.dead_letter_id, item.outcome) for item in items(ledger, number)] == [(message, "discarded")]
    assert ledger.value("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL") == 0


@pytest.mark.parametrize("note", [None, "", "  "])
def test_a_discard_needs_a_reason(ledger: Database, note: str | None) -> None:
    insert_dead_job(ledger)

    with pytest.raises(ValueError, match="needs a note"):
        started(ledger, previewed(ledger, verb=Verb.DISCARD), actor=Actor("ada", note))
    with pytest.raises(ValueError, match="canary"):
        started(ledger, previewed(ledger, verb=Verb.DISCARD), canary=True)
    assert states(ledger) == ["dead"]


def test_what_was_not_seen_is_not_acted_on(ledger: Database) -> None:
    # Given a preview, and a failure whose dead letter was written before it but committed after it
    insert_dead_job(ledger)
    ledger.rows("SELECT setval(pg_get_serial_sequence('dead_letters', 'id'), 10)")
    insert_dead_job(ledger)
    made = previewed(ledger)
    ledger.rows("SELECT setval(pg_get_serial_sequence('dead_letters', 'id'), 5)")
    insert_dead_job(ledger)

    with pytest.raises(SelectionChanged, match="3 failures would be affected, 2 were confirmed"):
        started(ledger, made)


def test_what_somebody_else_did_meanwhile_is_no_harm(ledger: Database) -> None:
    first, second = insert_dead_job(ledger), insert_dead_job(ledger)
    made = previewed(ledger)
    with transaction(ledger.engine) as connection:
        resolve.discard(connection, [first], Actor("bob", "paid"), {})

    number = started(ledger, made)
    run(ledger.engine, number)

    assert [item.job_id for item in items(ledger, number)] == [second]
    with pytest.raises(SelectionChanged, match="nothing of the selection is left"):
        started(ledger, made)


def test_jobs_that_cannot_be_acted_on_are_named(ledger: Database, pipeline: Pipeline) -> None:
    dead, done, unknown = insert_dead_job(ledger), pipeline.submit(), uuid4()

    made = previewed(ledger, FailureFilter(jobs=(dead, done, unknown)))

    assert made.count == 1
    assert {(skipped.what, skipped.why) for skipped in made.skipped} == {
        (str(unknown), "there is no such job"),
        (str(done), "it is submitted, and only a dead job can be replayed"),
    }


def test_ages_stay_what_they_were_when_it_was_previewed(ledger: Database) -> None:
    # Given a failure that is a little younger than the age asked for
    from datetime import timedelta

    old, young = insert_dead_job(ledger, age="2 hours"), insert_dead_job(ledger, age="59 minutes 59.9 seconds")
    made = previewed(ledger, FailureFilter(older_than=timedelta(hours=1)))

    # When time passes before it is carried out
    ledger.rows("SELECT pg_sleep(0.2)")
    number = started(ledger, made)
    run(ledger.engine, number)

    assert [item.job_id for item in items(ledger, number)] == [old]
    assert ledger.value("SELECT state FROM jobs WHERE id = %s", young) == "dead"


def test_a_job_that_dies_again_while_the_replay_runs_is_not_replayed_twice(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given three dead jobs that will die again at once, and chunks of one job
    for _ in range(3):
        pipeline.submit(currencyCode="?")
    monkeypatch.setattr(operations, "CHUNK", 1)
    number = started(pipeline.ledger, previewed(pipeline.ledger))

    # When the worker is quicker than the replay
    run(pipeline.engine, number, watch=lambda _: pipeline.run() and None)

    # Then each was replayed once, in a transaction of its own, and the result tells how each ended
    assert operation(pipeline.ledger, number).done == 3
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'replay'") == 3
    assert pipeline.ledger.value("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL") == 3
    assert {(i.state_now, bool(i.last_error)) for i in items(pipeline.ledger, number)} == {("dead", True)}


def test_who_was_a_moment_too_late_is_told(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given somebody who acts between the look at a chunk and the act
    job = insert_dead_job(ledger)
    number = started(ledger, previewed(ledger))
    look = operations.page_of_targets

    def slow(connection: Connection, *arguments: Any, **more: Any) -> Any:
        targets = look(connection, *arguments, **more)
        if targets:
            with transaction(ledger.engine) as other:
                resolve.discard(other, [job], Actor("bob", "paid"), {})
        return targets

    monkeypatch.setattr(operations, "page_of_targets", slow)
    run(ledger.engine, number)

    assert [(item.outcome, item.why) for item in items(ledger, number)] == [
        ("skipped", "another user acted on it a moment ago")
    ]
    assert (operation(ledger, number).done, operation(ledger, number).skipped) == (0, 1)


def test_operations_are_listed_newest_first_in_pages(ledger: Database) -> None:
    numbers = []
    for tenant in "abc":
        insert_dead_job(ledger, tenant)
        numbers.append(started(ledger, previewed(ledger, FailureFilter(tenant=tenant))))

    with ledger.engine.connect() as connection:
        first = queries.operations(connection, limit=2)
        second = queries.operations(connection, before=first[-1].id, limit=2)
        with pytest.raises(OperationNotFound):
            queries.operation(connection, 999)

    assert [o.id for o in first + second] == numbers[::-1]


def test_a_selection_by_id_of_one_job_is_an_operation_too(ledger: Database) -> None:
    job: UUID = insert_dead_job(ledger)
    number = started(ledger, previewed(ledger, FailureFilter(jobs=(job,))))
    run(ledger.engine, number)
    assert operation(ledger, number).total == 1
