"""A webhook event replays the jobs it fixes, as a canary and exactly once, even if processes die."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.support.at_once import at_once
from tests.support.command_line import run as command
from tests.support.databases import Database
from tests.support.operations import items, operation
from tests.support.pipeline import Pipeline
from tests.support.rows import forget_stopped_links
from tests.support.sandbox_witness import Witness
from tests.support.web_visitor import Visitor, report
from tests.support.webhooks import Events
from worker.report.operations import run
from worker.report.webhooks.inbox import ACTOR

Vars = dict[str, str]


@pytest.fixture
def events(ledger: Database) -> Events:
    return Events(ledger)


def jobs_in(ledger: Database, number: int) -> set[UUID | None]:
    return {item.job_id for item in items(ledger, number)}


def test_a_link_replays_that_tenant_s_jobs_that_died_of_it_and_no_others(
    events: Events, pipeline: Pipeline, ledger: Database, sandbox: Witness
) -> None:
    # Given jobs that died of the link, of their data, and of another tenant's link
    sandbox.link("acme", "invalid")
    cured = [pipeline.enqueue(creditorReference=f"R{n}") for n in range(3)]
    pipeline.run()
    forget_stopped_links(ledger)
    sandbox.link("acme", "missing")
    cured.append(pipeline.submit(creditorReference="R3"))
    sandbox.link("acme", "ok")
    others = [pipeline.submit(currencyCode="?"), pipeline.submit("missing-other")]

    # When the link is there again
    events.keep()
    assert events.inbox.process_next()

    # Then one operation has just these, as a canary
    outcome, (number,) = events.outcome()  # type: ignore[misc]
    assert (outcome, events.begun) == ("replayed", 1)
    told = operation(ledger, number)
    assert (told.canary, told.jobs, told.actor, told.verb) == (True, 4, ACTOR, "replay")
    assert run(ledger.engine, number, sleep=lambda _: pipeline.run())
    pipeline.run()
    assert jobs_in(ledger, number) == set(cured)
    assert {pipeline.job(job)["state"] for job in cured} == {"submitted"}
    assert {pipeline.job(job)["state"] for job in others} == {"dead"}


def test_after_a_restore_a_replay_by_an_event_looks_up_first(
    events: Events, pipeline: Pipeline, ledger: Database, variables: Vars, sandbox: Witness
) -> None:
    # Given jobs that were dead at the time of the backup; one of them was submitted in the lost hour
    sandbox.link("acme", "invalid")
    jobs = [pipeline.enqueue(creditorReference=f"R{n}") for n in range(3)]
    pipeline.run()
    forget_stopped_links(ledger)
    sandbox.link("acme", "ok")
    pipeline.submit(key="in the lost hour", creditorReference="R1")
    assert command(variables, "reconcile").exit_code == 0

    events.keep()
    events.inbox.process_next()
    number = events.outcome()[1][0]  # type: ignore[index]
    assert run(ledger.engine, number, sleep=lambda _: pipeline.run())
    pipeline.run()

    assert {pipeline.job(job)["state"] for job in jobs} == {"submitted"}
    assert (len(sandbox.cases()), sandbox.lookups()) == (3, 3)


def test_a_signed_contract_replays_each_cause_that_it_cures_as_a_canary_of_its_own(
    events: Events, pipeline: Pipeline, ledger: Database, sandbox: Witness
) -> None:
    sandbox.link("acme", "unfinished")
    unsigned = pipeline.submit(creditorReference="R1")
    identity = pipeline.submit(tag="sandbox:business:MissingKycVerification", creditorReference="R2")
    sandbox.link("acme", "missing")
    unlinked = pipeline.submit(creditorReference="R3")

    events.keep("client.onboarding.contract_signed")
    events.inbox.process_next()

    first, second = events.outcome()[1]  # type: ignore[misc]
    sandbox.link("acme", "ok")
    for number in (first, second):
        run(ledger.engine, number, sleep=lambda _: pipeline.run())
    pipeline.run()
    assert (jobs_in(ledger, first), jobs_in(ledger, second)) == ({unsigned}, {unlinked})
    assert pipeline.letters(identity)[-1]["resolved_at"] is None


def test_a_replay_by_an_event_is_audited_with_the_event_s_id(
    events: Events, pipeline: Pipeline, ledger: Database, variables: Vars
) -> None:
    job = pipeline.submit("missing-acme")
    events.keep(tenant="missing-acme", event_id="evt-77")
    events.inbox.process_next()
    number = events.outcome("evt-77")[1][0]  # type: ignore[index]
    run(ledger.engine, number, sleep=lambda _: pipeline.run())

    entries = ledger.rows(
        "SELECT actor, action, detail ->> 'event_id', detail ->> 'event', note FROM audit_log WHERE job_id = %s", job
    )
    assert entries == [
        (ACTOR, "replay", "evt-77", "client.linked", "client.linked (event evt-77)")
    ]  # fmt: skip
    visitor = Visitor(report(ledger, variables))
    activity = visitor.get("/operations").text
    assert ACTOR in activity
    assert "canary" in activity
    assert "client.linked (event evt-77)" in visitor.get(f"/operations/{number}").text


def test_a_link_that_is_not_well_after_all_costs_one_job_s_attempt(
    events: Events, pipeline: Pipeline, ledger: Database
) -> None:
    jobs = [pipeline.submit("missing-acme") for _ in range(3)]
    events.keep(tenant="missing-acme")
    events.inbox.process_next()
    number = events.outcome()[1][0]  # type: ignore[index]

    run(ledger.engine, number, sleep=lambda _: pipeline.run())

    assert operation(ledger, number).state == "stopped"
    assert [len(pipeline.letters(job)) for job in jobs] == [2, 1, 1]


@pytest.mark.parametrize(("tenant", "outcome"), [("acme", "nothing_to_replay"), (None, "no_tenant")])
def test_an_event_with_nothing_to_replay_is_done_with(
    events: Events, ledger: Database, tenant: str | None, outcome: str
) -> None:
    events.keep(tenant=tenant)

    assert events.inbox.process_next()
    assert not events.inbox.process_next()
    assert events.outcome() == (outcome, [])
    assert ledger.value("SELECT count(*) FROM operations") == 0


def test_what_dies_while_it_works_on_an_event_leaves_it_to_the_next(
    events: Events, pipeline: Pipeline, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replay and the mark on the event are one transaction."""
    pipeline.submit("missing-acme")
    events.keep(tenant="missing-acme")

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("worker.ledger.writer.webhooks.worked", dies)
        with pytest.raises(KeyboardInterrupt):
            events.inbox.process_next()
    assert events.outcome() == (None, [])
    assert ledger.value("SELECT count(*) FROM operations") == 0

    assert Events(ledger).inbox.process_next()
    assert ledger.value("SELECT count(*) FROM operations") == 1


def test_two_processes_work_on_an_event_once(events: Events, pipeline: Pipeline, ledger: Database) -> None:
    pipeline.submit("missing-acme")
    events.keep(tenant="missing-acme")
    inboxes = [Events(ledger).inbox for _ in range(4)]

    did = at_once(4, lambda n: inboxes[n].process_next())

    assert sorted(did) == [False, False, False, True]
    assert ledger.value("SELECT count(*) FROM operations") == 1


def test_an_event_that_we_stumble_over_does_not_keep_the_others(
    events: Events, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    events.keep("client.linked", "acme", "evt-bad")
    with monkeypatch.context() as patch:
        patch.setattr("worker.report.webhooks.inbox.preview", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            events.inbox.process_next()
    events.keep("client.linked", "bell", "evt-good")

    assert [events.inbox.process_next(), events.inbox.process_next()] == [True, False]
    assert events.outcome("evt-bad") == (None, [])
    assert Events(ledger).inbox.process_next(), "the next process tries it again"


def test_old_events_are_deleted_unless_they_are_unprocessed(events: Events, ledger: Database) -> None:
    events.keep(event_id="old")
    events.inbox.process_next()
    ledger.rows("UPDATE webhook_events SET worked_at = now() - interval '91 days'")
    events.keep(event_id="waits")
    ledger.rows("UPDATE webhook_events SET received_at = now() - interval '1 year'")

    events.inbox._purge()

    assert ledger.rows("SELECT id FROM webhook_events") == [("waits",)]
