"""`case-worker alerts test`, and what the doctor says of the settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local_servers import free_port

from tests.support.alert_receiver import AlertReceiver
from tests.support.command_line import run
from tests.support.databases import Database


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    with AlertReceiver() as receiver:
        yield receiver


def test_a_test_alert_goes_to_every_receiver_and_shows_the_answers(receiver: AlertReceiver) -> None:
    away = f"127.0.0.1:{free_port()}"
    urls = f"{receiver.url} slack+{receiver.url} http://{away}/s3cret-path"
    receiver.answers.extend([200, 404])

    result = run({"ALERT_WEBHOOK_URLS": urls}, "alerts", "test")

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{receiver.address}: ok, HTTP 200: noted",
        f"{receiver.address}: FAILED, HTTP 404: noted",
        f"{away}: FAILED, the connection failed",
    ]
    assert receiver.next()["kind"] == "test"
    assert receiver.next()["text"].startswith("*A test alert* (test)")
    assert "s3cret" not in result.output


def test_a_test_alert_succeeds_when_every_receiver_has_it(receiver: AlertReceiver) -> None:
    assert run({"ALERT_WEBHOOK_URLS": receiver.url}, "alerts", "test").exit_code == 0


def test_a_test_alert_without_receivers_says_what_to_set() -> None:
    result = run({}, "alerts", "test")

    assert result.exit_code == 2
    assert result.stderr.startswith("case-worker: ALERT_WEBHOOK_URLS is not set")


def test_the_doctor_names_receivers_and_misses_a_signature(
    ledger: Database, variables: dict[str, str], receiver: AlertReceiver
) -> None:
    told = run({**variables, "ALERT_WEBHOOK_URLS": receiver.url}, "doctor").stdout

    assert f"ALERT_WEBHOOK_URLS: alerts go to {receiver.address}" in told
    assert "ALERT_WEBHOOK_SECRET: not set, so alerts are not signed" in told
    assert "s3cret-path" not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALERT_WEBHOOK_URLS", "http://geheim.example/x"), ("DEBITURA_WEBHOOK_SECRET", "geheim!"), ("REPORT_URL", "x")],
)
def test_the_doctor_finds_a_bad_setting_beside_what_is_well(
    ledger: Database, variables: dict[str, str], name: str, value: str
) -> None:
    result = run({**variables, name: value}, "doctor")

    assert result.exit_code == 1
    assert f"FAILED   {name}: is wrong" in result.stdout
    assert "ok       schema" in result.stdout
    assert "geheim" not in result.stdout
