"""Alert delivery: signed, retried, given up; a dead receiver delays no other; no secret in the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog
from local_servers import free_port

from tests.support.alert_receiver import AlertReceiver
from tests.support.at_once import at_once
from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.rows import insert_dead_job, set_leader
from worker.alerts.delivery import TRIES, Delivery
from worker.alerts.messages import signature
from worker.alerts.settings import AlertSettings
from worker.alerts.watch import AlertWatch
from worker.ledger.database import transaction

SECRET = "a-secret-of-24-characters"


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    with AlertReceiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def leader(ledger: Database) -> None:
    set_leader(ledger)


class Told:
    """One alert in the ledger, and a delivery for each receiver."""

    def __init__(self, ledger: Database, *urls: str, name: str = "one", **environ: str) -> None:
        self.ledger = ledger
        settings = AlertSettings.from_environment({"ALERT_WEBHOOK_URLS": " ".join(urls), **environ})
        insert_dead_job(ledger)
        with transaction(ledger.engine) as connection:
            AlertWatch(settings, ledger.engine, name=name).look(connection)
        self.couriers = [Delivery(target, settings, ledger.engine, name=name) for target in settings.targets]

    def deliver(self) -> list[bool]:
        return [courier.deliver_next() for courier in self.couriers]

    def time_passes(self) -> None:
        self.ledger.rows("UPDATE alert_deliveries SET due_at = now() WHERE state = 'pending'")

    def rows(self) -> list[tuple[object, ...]]:
        return self.ledger.rows("SELECT state, attempts, last_error FROM alert_deliveries ORDER BY host")


def test_an_alert_arrives_once_signed_and_with_its_link(ledger: Database, receiver: AlertReceiver) -> None:
    told = Told(ledger, receiver.url, ALERT_WEBHOOK_SECRET=SECRET, REPORT_URL="https://cases.example.com")

    assert told.deliver() == [True]
    assert told.deliver() == [False]

    body, headers = receiver.next(), receiver.headers[0]
    assert body["kind"] == "new_failure_group"
    assert UUID(body["id"]) == ledger.value("SELECT id FROM alerts")
    assert body["link"] == f"https://cases.example.com/jobs?cause={body['facts']['groups'][0]['cause']}"
    assert receiver.paths == [AlertReceiver.SECRET_PATH]
    moment = int(headers["case-worker-signature"].split(",")[0].removeprefix("t="))
    assert headers["case-worker-signature"] == signature([SECRET], receiver.raw[0], now=moment)
    assert told.rows() == [("delivered", 1, None)]


def test_slack_gets_its_own_form_without_a_signature(ledger: Database, receiver: AlertReceiver) -> None:
    Told(ledger, f"slack+{receiver.url}", ALERT_WEBHOOK_SECRET=SECRET).deliver()

    assert receiver.next().keys() == {"text"}
    assert "case-worker-signature" not in receiver.headers[0]


def test_what_a_receiver_refuses_comes_again_with_the_same_id(ledger: Database, receiver: AlertReceiver) -> None:
    receiver.answers.extend([500, 302])
    told = Told(ledger, receiver.url)

    told.deliver()
    assert told.rows() == [("pending", 1, "it answers 500")]
    assert told.deliver() == [False], "not before it is due"
    for _ in range(2):
        told.time_passes()
        told.deliver()

    ids = {receiver.next()["id"] for _ in range(3)}
    assert len(ids) == 1
    assert told.rows() == [("delivered", 3, None)]


def test_after_the_last_try_it_is_given_up_and_status_and_doctor_say_so(
    ledger: Database, receiver: AlertReceiver, variables: dict[str, str]
) -> None:
    receiver.answers.extend([503] * TRIES)
    told = Told(ledger, receiver.url)
    for _ in range(TRIES):
        told.time_passes()
        assert told.deliver() == [True]

    told.time_passes()
    assert told.deliver() == [False]
    assert told.rows() == [("given_up", TRIES, "it answers 503")]
    words = f"{receiver.address}: 1 given up within 7 days (it answers 503)"
    assert words in run(variables, "status").stdout
    doctor = run(variables, "doctor").stdout
    assert words in doctor
    assert "s3cret-path" not in doctor


def test_a_dead_receiver_keeps_no_other_waiting(ledger: Database, receiver: AlertReceiver) -> None:
    told = Told(ledger, f"http://127.0.0.1:{free_port()}/x", receiver.url)

    assert told.deliver() == [True, True]

    assert receiver.next()["kind"] == "new_failure_group"
    assert {row[0] for row in told.rows()} == {"pending", "delivered"}
    assert [row[2] for row in told.rows() if row[2]] == ["the connection failed"]


def test_what_a_process_that_died_had_taken_is_delivered_by_the_next(
    ledger: Database, receiver: AlertReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(ledger, receiver.url)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("worker.alerts.delivery.after_try", lambda *_args, **_more: dies())
        with pytest.raises(KeyboardInterrupt):
            told.deliver()
    assert told.rows() == [("pending", 1, None)]
    assert told.deliver() == [False], "it is taken for a minute"

    told.time_passes()
    assert told.deliver() == [True]
    assert receiver.next()["id"] == receiver.next()["id"], "told twice, under one id"
    assert told.rows() == [("delivered", 2, None)]


def test_two_couriers_deliver_each_alert_once(ledger: Database, receiver: AlertReceiver) -> None:
    told = [Told(ledger, receiver.url) for _ in range(3)]

    sent = [one for all_of_one in at_once(3, lambda n: told[n].deliver()) for one in all_of_one]

    assert sorted(sent) == [False, False, True]
    assert len(receiver.raw) == 1


def test_an_alert_that_we_stumble_over_is_given_up_like_any_other(ledger: Database, receiver: AlertReceiver) -> None:
    told = Told(ledger, receiver.url)
    ledger.rows("UPDATE alerts SET facts = '{}'")
    ledger.rows("UPDATE alert_deliveries SET attempts = %s", TRIES - 1)

    assert told.deliver() == [True]
    assert told.rows() == [("given_up", TRIES, "internal error, KeyError")]


def test_only_the_worker_that_leads_delivers(ledger: Database, receiver: AlertReceiver) -> None:
    assert Told(ledger, receiver.url, name="two").deliver() == [False]
    assert receiver.raw == []


def test_no_log_line_has_the_path_or_the_secret(ledger: Database, receiver: AlertReceiver) -> None:
    receiver.answers.append(500)
    with structlog.testing.capture_logs() as lines:
        told = Told(ledger, receiver.url, ALERT_WEBHOOK_SECRET=SECRET)
        told.deliver()
        told.time_passes()
        told.deliver()

    assert [line["event"] for line in lines] == ["alert_written", "alert_not_delivered", "alert_delivered"]
    assert lines[1]["receiver"] == receiver.address
    assert "s3cret-path" not in str(lines)
    assert SECRET not in str(lines)
