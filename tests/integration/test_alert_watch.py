"""Alerts about failures and client links: each once, many as one summary, and no debtor's data."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from tests.support.alert_looks import Looks, resolve_all
from tests.support.at_once import at_once
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import ago, change_dead_letters, insert_dead_job, insert_unreadable_message, set_leader
from tests.support.sandbox_witness import Witness
from worker.alerts.changes import MOST
from worker.ledger.database import transaction
from worker.ledger.queries.alerts import OpenCause, open_causes


@pytest.fixture
def looks(ledger: Database) -> Looks:
    return Looks(ledger)


def test_a_new_cause_is_told_once_to_every_receiver(looks: Looks, ledger: Database) -> None:
    insert_dead_job(
        ledger, message="Sign first (INV-1)", reason="business_rule", error_type="MissingKycVerification", status=422
    )

    assert looks.look() == 1
    insert_dead_job(
        ledger, message="Sign first (INV-2)", reason="business_rule", error_type="MissingKycVerification", status=422
    )
    assert [looks.look(), looks.look()] == [0, 0]

    ((kind, facts),) = looks.told()
    (group,) = facts["groups"]
    assert (kind, facts["count"]) == ("new_failure_group", 1)
    assert group["cause"] == str(ledger.value("SELECT DISTINCT cause FROM dead_letters"))
    assert (group["reason"], group["errorType"], group["httpStatus"]) == (
        "business_rule",
        "MissingKycVerification",
        422,
    )
    deliveries = ledger.rows("SELECT host, state FROM alert_deliveries ORDER BY host")
    assert deliveries == [("a.example", "pending"), ("b.example", "pending")]


def test_another_cause_is_news_and_an_unreadable_message_too(looks: Looks, ledger: Database) -> None:
    insert_dead_job(ledger, message="one")
    looks.look()
    insert_dead_job(ledger, message="two")
    insert_unreadable_message(ledger)

    assert looks.look() == 2
    assert sorted(facts["groups"][0]["reason"] for _, facts in looks.told()) == [
        "malformed_message", "validation", "validation"
    ]  # fmt: skip


def test_a_replayed_job_that_dies_again_is_no_news_but_a_cause_that_comes_back_later_is(
    looks: Looks, ledger: Database
) -> None:
    insert_dead_job(ledger)
    looks.look()

    resolve_all(ledger)
    assert looks.look() == 0
    insert_dead_job(ledger)
    assert looks.look() == 0, "gone for a moment only"

    resolve_all(ledger)
    looks.time_passes(3601)
    assert looks.look() == 0
    insert_dead_job(ledger)
    assert looks.look() == 1


def test_a_thousand_new_causes_are_one_alert(looks: Looks, ledger: Database) -> None:
    insert_dead_job(ledger)
    ledger.rows(
        "INSERT INTO dead_letters (reason, invalid_client_link, detail)"
        " SELECT 'malformed_message', false, jsonb_build_object('message', repeat(letter, n))"
        " FROM generate_series(1, 333) n, unnest(ARRAY['x', 'y', 'z']) letter"
    )

    assert looks.look() == 1
    ((_, facts),) = looks.told()
    assert facts["count"] == 1000
    assert len(facts["groups"]) == 10
    assert looks.look() == 0


def test_causes_that_go_on_coming_are_told_within_a_budget_and_then_summed_up(looks: Looks, ledger: Database) -> None:
    for n in range(MOST + 4):
        insert_dead_job(ledger, message="x" * (n + 1))
        looks.look()
    assert len(looks.told()) == MOST

    looks.time_passes(601)
    assert looks.look() == 1
    assert looks.told()[-1][1]["count"] == 4
    assert looks.look() == 0


def test_causes_that_are_gone_before_they_are_told_are_not_told(
    looks: Looks, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person replays the jobs during the check."""
    gone = [OpenCause(UUID(int=n), n) for n in range(4)]
    insert_dead_job(ledger)
    there = open_causes
    with monkeypatch.context() as patch:
        patch.setattr("worker.ledger.queries.alerts.open_causes", lambda c: [*gone[:3], *there(c)])
        assert looks.look() == 1
        assert looks.told()[0][1]["count"] == 1
        patch.setattr("worker.ledger.queries.alerts.open_causes", lambda _: gone[3:])
        assert looks.look() == 0


def test_an_invalid_link_is_told_once_per_tenant(
    looks: Looks, pipeline: Pipeline, ledger: Database, sandbox: Witness
) -> None:
    for tenant in ("invalid-a", "invalid-a", "missing-b"):
        pipeline.submit(tenant)

    looks.look()
    links = [facts["links"] for kind, facts in looks.told() if kind == "invalid_link"]
    assert sorted((link["externalTenantId"], link["reason"]) for (link,) in links) == [
        ("invalid-a", "second_unauthorized"),
        ("missing-b", "client_link_not_found"),
    ]

    pipeline.submit("invalid-a")
    looks.time_passes(61)
    assert looks.look() == 0


def test_a_link_that_was_mended_and_breaks_again_is_news(looks: Looks, ledger: Database) -> None:
    insert_dead_job(ledger, "acme", reason="client_link_not_found")
    looks.look()
    resolve_all(ledger)
    change_dead_letters(ledger, created_at=ago("2 hours"))
    looks.time_passes(3700)
    looks.look()
    assert ledger.rows("SELECT key FROM alert_conditions WHERE kind = 'invalid_link'") == []

    insert_dead_job(ledger, "acme", reason="client_link_not_found")
    looks.look()
    assert looks.kinds().count("invalid_link") == 2


def test_a_link_that_stays_broken_is_not_forgotten(looks: Looks, ledger: Database) -> None:
    insert_dead_job(ledger, "acme", reason="client_link_not_found", age="1 day")
    looks.look()
    for _ in range(3):
        looks.time_passes(3000)
        looks.look()

    assert looks.kinds().count("invalid_link") == 1


def test_what_had_failed_while_nobody_looked_is_told_too(looks: Looks, ledger: Database) -> None:
    ledger.rows("UPDATE alert_watch SET looked_at = now() - interval '1 hour'")
    insert_dead_job(ledger, "acme", reason="second_unauthorized", age="59 minutes")

    looks.look()
    assert "invalid_link" in looks.kinds()


def test_two_watches_at_once_tell_everything_once(ledger: Database) -> None:
    for n in range(3):
        insert_dead_job(ledger, message="x" * (n + 1))
    watches = [Looks(ledger) for _ in range(4)]

    told = at_once(4, lambda n: watches[n].look())

    assert sorted(told) == [0, 0, 0, 3]
    assert ledger.value("SELECT count(*) FROM alert_deliveries") == 6


def test_a_look_that_dies_before_its_commit_has_told_nothing_and_the_next_tells_it_all(
    looks: Looks, ledger: Database
) -> None:
    insert_dead_job(ledger)

    def dies() -> None:
        with transaction(ledger.engine) as connection:
            looks.watch.look(connection)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dies()
    assert looks.told() == []
    assert looks.look() == 1


def test_only_the_worker_that_leads_looks(ledger: Database, looks: Looks) -> None:
    insert_dead_job(ledger)
    set_leader(ledger, "another")
    looks.watch._turn()
    assert looks.told() == []

    set_leader(ledger)
    looks.watch._turn()
    assert len(looks.told()) == 1


def test_nothing_of_a_debtor_and_no_path_is_in_the_ledger_s_alerts(
    looks: Looks, pipeline: Pipeline, ledger: Database
) -> None:
    """An error message, or an error type that is a sentence, may contain a name."""
    debtor = {"type": "Company", "name": "Geheim GmbH", "countryAlpha2": "DK", "email": "no mail of geheim"}
    pipeline.submit(debtor=debtor, creditorReference="geheim-1")
    insert_dead_job(ledger, message="Mr Geheim is unknown", error_type="Mr Geheim is unknown", status=400)
    looks.look()

    assert len(looks.told()) == 2
    everything = json.dumps(
        [ledger.rows(f"SELECT {t}::text FROM {t}") for t in ("alerts", "alert_conditions", "alert_deliveries")]
    )
    assert "geheim" not in everything.lower()
    assert "hunter2" not in everything


def test_old_alerts_are_forgotten(looks: Looks, ledger: Database, make_leader: Callable[[], None]) -> None:
    insert_dead_job(ledger)
    make_leader()
    looks.watch._turn()
    ledger.rows("UPDATE alerts SET created_at = now() - interval '31 days'")
    looks.watch._forget_at = 0.0

    looks.watch._turn()

    assert looks.told() == []
    assert ledger.value("SELECT count(*) FROM alert_deliveries") == 0


def test_what_goes_to_a_receiver_that_is_set_no_more_is_given_up(
    looks: Looks, ledger: Database, make_leader: Callable[[], None]
) -> None:
    insert_dead_job(ledger)
    looks.look()
    make_leader()
    ledger.rows("UPDATE alert_deliveries SET due_at = now() - interval '2 days' WHERE host = 'a.example'")

    looks.watch._turn()

    assert ledger.rows("SELECT host, state, last_error FROM alert_deliveries ORDER BY host") == [
        ("a.example", "given_up", "nobody delivers to it any more"),
        ("b.example", "pending", None),
    ]


@pytest.fixture
def make_leader(ledger: Database) -> Callable[[], None]:
    return lambda: set_leader(ledger)


def test_the_cause_in_an_alert_finds_its_group_in_the_report(looks: Looks, ledger: Database) -> None:
    job = insert_dead_job(ledger)
    looks.look()

    cause = UUID(looks.told()[0][1]["groups"][0]["cause"])
    assert ledger.rows("SELECT job_id FROM dead_letters WHERE cause = %s", cause) == [(job,)]
