"""What `/webhooks/debitura` accepts, and that it gives access to nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from tests.support.databases import Database
from tests.support.web_visitor import USERS, Visitor, report
from tests.support.webhooks import NEXT, PATH, SECRET, Debitura, encoded, event
from worker.ledger.database import get_engine
from worker.report.web.application import create_application
from worker.report.web.webhook import MAX_BODY
from worker.settings import Settings

Vars = dict[str, str]


@pytest.fixture
def debitura(ledger: Database, variables: Vars) -> Debitura:
    return Debitura(ledger, variables)


def kept(ledger: Database) -> list[tuple[object, ...]]:
    return ledger.rows("SELECT event, external_tenant_id, outcome FROM webhook_events ORDER BY received_at")


def counts(ledger: Database) -> dict[object, object]:
    return dict(ledger.rows("SELECT event, received FROM webhook_counts"))  # type: ignore[arg-type]


def test_a_genuine_event_is_kept_before_it_is_acknowledged(debitura: Debitura, ledger: Database) -> None:
    answer = debitura.send()

    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert kept(ledger) == [("client.linked", "acme", None)]
    assert counts(ledger) == {"client.linked": 1}
    assert "set-cookie" not in answer.headers


def test_an_event_s_payload_is_not_kept(debitura: Debitura, ledger: Database) -> None:
    with structlog.testing.capture_logs() as lines:
        debitura.send()

    assert "Geheim" not in str(ledger.rows("SELECT e::text FROM webhook_events e"))
    assert "Geheim" not in str(lines)
    assert [line["event"] for line in lines if line["event"].startswith("webhook")] == ["webhook_received"]
    assert "acme" not in str(lines)


def test_without_a_secret_there_is_no_webhook_address(ledger: Database, variables: Vars) -> None:
    off = Debitura(ledger, variables, DEBITURA_WEBHOOK_SECRET="")

    assert off.send().status_code == 404
    assert kept(ledger) == []


def test_a_bad_signature_is_refused_and_nothing_kept(debitura: Debitura, ledger: Database) -> None:
    body = event()

    assert debitura.send(secret=NEXT).status_code == 401
    assert debitura.send(X_Debitura_Signature=None).status_code == 401
    assert debitura.send(X_Debitura_Signature="t=1,v1=zz").status_code == 401
    assert debitura.send(age=301).status_code == 401
    assert debitura.send(age=-400).status_code == 401
    signed = debitura.send(body).request.headers["x-debitura-signature"]
    assert debitura.send(body + b" ", X_Debitura_Signature=signed).status_code == 401
    assert len(kept(ledger)) == 1


def test_only_the_body_s_event_counts_since_the_headers_are_not_signed(debitura: Debitura, ledger: Database) -> None:
    debitura.send(event("case.created"), X_Debitura_Event="client.linked", X_Debitura_Timestamp="1")

    assert kept(ledger) == []
    assert counts(ledger) == {"case.created": 1}


def test_while_the_secret_is_replaced_old_and_new_are_taken(ledger: Database, variables: Vars) -> None:
    debitura = Debitura(ledger, variables, DEBITURA_WEBHOOK_SECRET=encoded(SECRET, NEXT))

    assert [debitura.send(secret=s).status_code for s in (SECRET, NEXT, b"of nobody, 20 letters")] == [200, 200, 401]


def test_an_event_that_comes_again_is_acknowledged_and_kept_once(debitura: Debitura, ledger: Database) -> None:
    body = event()

    assert [debitura.send(body).status_code for _ in range(3)] == [200, 200, 200]
    assert len(kept(ledger)) == 1

    ledger.rows("UPDATE webhook_events SET worked_at = now(), outcome = 'nothing_to_replay'")
    assert debitura.send(body, X_Debitura_Replay="true").status_code == 200
    assert kept(ledger) == [("client.linked", "acme", "nothing_to_replay")]


def test_the_same_event_at_the_same_time_is_kept_once(debitura: Debitura, ledger: Database) -> None:
    body = event()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: debitura.send(body).status_code, range(4)))

    assert answers == [200] * 4
    assert len(kept(ledger)) == 1
    assert counts(ledger) == {"client.linked": 4}


def test_events_that_cure_nothing_are_acknowledged_and_counted(debitura: Debitura, ledger: Database) -> None:
    names = ["case.created", "client.link_expired", "client.onboarding.poa_signed", "brand.new", "x" * 200]

    assert {debitura.send(event(name)).status_code for name in names} == {200}
    assert kept(ledger) == []
    assert counts(ledger) == {
        "case.created": 1, "client.link_expired": 1, "client.onboarding.poa_signed": 1, "other": 2
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", event(id=None), event(id="a\x00")])
def test_what_is_signed_but_no_event_is_refused(debitura: Debitura, ledger: Database, body: bytes) -> None:
    assert debitura.send(body).status_code == 400
    assert kept(ledger) == []


def test_a_body_has_a_limit_also_when_its_length_is_not_announced(debitura: Debitura) -> None:
    fits = event(padding="x" * (MAX_BODY - len(event(padding=""))))
    assert len(fits) == MAX_BODY
    assert debitura.send(fits).status_code == 200
    assert debitura.send(fits + b" ").status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b"x" * 1024

    assert debitura.visitor.http.post(PATH, content=pieces()).status_code == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_the_webhook_address_takes_only_post(debitura: Debitura, method: str) -> None:
    answer = debitura.visitor.http.request(method, PATH)

    assert answer.status_code == 405
    assert "<" not in answer.text
    assert "set-cookie" not in answer.headers


def test_the_name_that_the_world_knows_opens_this_address_and_no_other(debitura: Debitura) -> None:
    """Without users the page answers to this machine's names only."""
    assert debitura.send().status_code == 200
    for path in ("/", "/jobs", "/webhooks/debitura/", "/webhooks/debitura/../../", "/webhooks/other", "/metrics"):
        assert debitura.visitor.http.get(path).status_code == 421


def test_webhooks_need_no_sign_in_and_the_pages_still_do(ledger: Database, variables: Vars) -> None:
    debitura = Debitura(ledger, variables, REPORT_USERS=USERS)

    assert debitura.send().status_code == 200
    assert debitura.visitor.http.get("/").headers["location"].startswith("/login")


def test_a_browser_s_form_is_refused_at_the_webhook_address(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables, DEBITURA_WEBHOOK_SECRET=encoded(SECRET)))

    assert visitor.post(PATH, at="/", verb="replay").status_code == 401


def test_a_webhook_is_asked_to_come_again_while_the_database_is_away(variables: Vars) -> None:
    away = {**variables, "DATABASE_URL": "postgresql://postgres@127.0.0.1:1/x"}
    away["DEBITURA_WEBHOOK_SECRET"] = encoded(SECRET)
    settings = Settings.from_environment(away)
    debitura = Debitura.__new__(Debitura)
    app = create_application(settings, get_engine(settings.database_url), away)
    debitura.visitor = Visitor(app, origin="https://cases.example.com")

    assert debitura.send().status_code == 503


def test_status_counts_the_webhooks_that_arrived(debitura: Debitura, ledger: Database, variables: Vars) -> None:
    from tests.support.command_line import run

    debitura.send()
    debitura.send(event("case.created"))
    told = json.loads(run(variables, "status", "--json").stdout)

    assert told["webhooks"] == {"received": {"case.created": 1, "client.linked": 1}, "unworked": 1}
    assert "1 event from Debitura not processed yet" in run(variables, "status").stdout
    assert "1 event from Debitura not processed yet" in run(variables, "doctor").stdout
