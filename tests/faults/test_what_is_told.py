"""What workers and the page tell the world on their worst day, with cases readable and sealed: no log line and no span
holds a token, a key or a debtor's data."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from processes import program

from tests.support.faults.deployments import Deployments
from tests.support.faults.process_node import ProcessNode
from tests.support.faults.stage import API_KEY, Stage
from tests.support.faults.stops import Stop
from tests.support.faults.unreadable_messages import accept, envelope
from tests.support.faults.worker_node import WorkerNode
from tests.support.until import until
from worker.case.protection import Protection
from worker.intake.enqueue import admit, insert
from worker.queue.app import ACCEPT_TASK, INTAKE
from worker.sandbox.webhooks import headers_for
from worker.telemetry.logging import digest_with

DATABASE_PASSWORD, REDIS_PASSWORD, TENANT_KEY = "datenbank-geheimnis", "redis-geheimnis", "mandanten-geheimnis"
ALERT_PATH, ALERT_SECRET, CASE_KEY, OTHER_KEY = "alarm-geheimnis", "unterschrift-geheimnis", "5a" * 32, "6b" * 32
WEBHOOK_SECRET = b"webhook-geheimnis-von-debitura"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = PARENT.split("-")[1]
#: The values of every case, none of which is a word that a log line could have by chance.
PERSONAL = {
    "creditorReference": "Rechnung-4711",
    "comments": "zahlt-seit-Ostern-nicht",
    "debtor": {
        "type": "Private", "name": "Jens Wiesengrund", "email": "wiesengrund@example.com", "phone": "+4915112345678",
        "address": "Holunderweg 17", "city": "Kyritz an der Knatter", "zipCode": "16866-X", "countryAlpha2": "DE",
    },
}  # fmt: skip
SECRETS = (
    DATABASE_PASSWORD, REDIS_PASSWORD, TENANT_KEY, API_KEY, ALERT_PATH, ALERT_SECRET, CASE_KEY, OTHER_KEY,
    base64.b64encode(WEBHOOK_SECRET).decode(),
)  # fmt: skip
TENANT = "geheimkunde"
#: How the logs show that each kind of trouble has come.
REACHED = (
    "job_submitted", "job_dead", "job_waiting", "job_accepted", "attempt_failed_by_bug", "message_malformed",
    "dispatcher_waits_for_ledger", "CheckViolation", "case_looked_up", "decryption_failed", "cases_purged",
    "alert_written", "alert_not_delivered", "webhook_refused", "webhook_received", "webhook_processed",
    "operation_taken_up", "page_without_database", "not_ready",
)  # fmt: skip


class Collector:
    """Receive spans like an OpenTelemetry collector: OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        taken = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        taken.extend(scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def named(self, name: str, trace: str = TRACE) -> list[Span]:
        return [span for span in list(self.spans) if span.name == name and span.trace_id.hex() == trace]


def with_passwords(
    name: str, folder: Path, environment: Mapping[str, str], *, pool: str = "prefork", app: str = ""
) -> WorkerNode:
    """A worker with passwords in its URLs; the servers don't check them."""
    secret = {
        "DATABASE_URL": environment["DATABASE_URL"].replace("postgres@", f"postgres:{DATABASE_PASSWORD}@"),
        "REDIS_URL": environment["REDIS_URL"].replace("redis://", f"redis://default:{REDIS_PASSWORD}@"),
    }
    return WorkerNode(name, folder, {**environment, **secret}, pool=pool, app=app)


class Page(ProcessNode):
    """`case-worker web`, with the settings of the stage's worker."""

    ready_prompt = "The report is at "

    def __init__(self, stage: Stage) -> None:
        command = [program("case-worker"), "web", "--port", "0"]
        super().__init__("page", command, stage.folder, stage.nodes[0].environment)

    def ask(self, path: str, method: str = "GET", **more: Any) -> requests.Response:
        """One request."""
        address = self.said().partition(self.ready_prompt)[2].split()[0]
        return requests.request(method, f"{address}{path}", timeout=20, **more)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture(scope="module", params=[{}, {"CASE_ENCRYPTION_KEYS": CASE_KEY}], ids=["readable", "sealed"])
def stage(request: pytest.FixtureRequest, deployments: Deployments, collector: Collector) -> Iterator[Stage]:
    collector.spans.clear()
    settings = request.param | {
        "LOG_TENANT_KEY": TENANT_KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50",
        "WORKER_MAX_ATTEMPTS": "30", "ALERT_WEBHOOK_URLS": f"http://127.0.0.1:1/{ALERT_PATH}", "PURGE_AFTER": "1d",
        "ALERT_WEBHOOK_SECRET": ALERT_SECRET, "DEBITURA_WEBHOOK_SECRET": base64.b64encode(WEBHOOK_SECRET).decode(),
    }  # fmt: skip
    with deployments.open(pools=("prefork",), settings=settings, make_worker=with_passwords) as running:
        yield running


def enqueue(stage: Stage, number: int, **case: Any) -> None:
    for _ in range(number):
        reference = f"{PERSONAL['creditorReference']}-{len(stage.expected)}"
        stage.enqueue(1, prefix=TENANT, tenants=1, **{**PERSONAL, "creditorReference": reference, **case})


def everything_goes_wrong(stage: Stage) -> None:
    """500s, 401s, refusals that repeat the case, bugs of ours, a ledger that goes away, unreadable messages."""
    name, email = "Jens Wiesengrund", "wiesengrund@example.com"
    said, html = json.dumps({"debtor.email": [f"{email} is no address of {name}"]}), f"<html>{name}</html>"
    stage.witness.misbehave(
        {"endpoint": "cases", "kind": "status", "status": 500, "times": 3, "body": html},
        {"endpoint": "cases", "kind": "status", "status": 400, "times": 1, "body": said},
        {"endpoint": "cases", "kind": "reset-after", "times": 2},
        {"endpoint": "cases", "kind": "truncated", "times": 1},
        {"endpoint": "token", "kind": "status", "status": 500, "times": 1, "body": html},
    )
    enqueue(stage, 8)
    stage.client.send_task(
        ACCEPT_TASK, headers={"traceparent": PARENT},
        kwargs={"external_tenant_id": TENANT, "case": {**PERSONAL, "currencyCode": "EUR", "amountToRecover": 7}},
    )  # fmt: skip
    stage.expected.add((TENANT, f"ref:{PERSONAL['creditorReference']}"))
    stage.settle()
    stage.witness.revoke_tokens()
    enqueue(stage, 2)
    stage.stops.arm("answered", Stop("raise", error="ZeroDivisionError"))
    enqueue(stage, 1)
    stage.settle()
    constraint_that_repeats_the_row(stage)
    unreadable(stage)
    stage.ledger_proxy.refuse()
    until("the ledger is missed", lambda: "dispatcher_waits_for_ledger" in stage.nodes[0].said(), within=30)
    stage.ledger_proxy.heal()
    enqueue(stage, 2)
    stage.settle()
    after_a_restore(stage)
    key_that_is_missing(stage)


def after_a_restore(stage: Stage) -> None:
    """After a restore, a new case is looked up by its reference before it is sent."""
    stage.rows("INSERT INTO restores (look_up_until, actor) VALUES (now() + interval '1 hour', 'test')")
    enqueue(stage, 1)
    stage.settle()
    stage.rows("UPDATE restores SET look_up_until = now()")


def key_that_is_missing(stage: Stage) -> None:
    """A case encrypted with a key that the worker lacks. It waits for ever, so it comes last."""
    with stage.engine.begin() as connection:
        job = admit(f"{TENANT}-0", {**PERSONAL, "currencyCode": "EUR"}, "sealed elsewhere")
        insert(connection, job, Protection.from_environment({"CASE_ENCRYPTION_KEYS": OTHER_KEY}))
    until("it is not opened", lambda: "decryption_failed" in stage.nodes[0].said(), within=30)


def a_link_heals(stage: Stage, page: Page) -> None:
    """A client link is lost and restored; one webhook about it is genuine, one is forged."""
    stage.witness.misbehave({"endpoint": "token", "kind": "status", "status": 404, "times": 1})
    stage.nodes[0].stop()
    client = stage.valkey.client()
    client.flushall()  # no token is left, there or in the worker's memory
    client.close()
    stage.nodes[0].start()
    stage.nodes[0].ready()
    enqueue(stage, 1)
    found = "SELECT state FROM jobs JOIN dead_letters ON job_id = jobs.id WHERE reason = 'client_link_not_found'"
    until("the link is missed", lambda: stage.rows(found) == [("dead",)], within=30, but=stage.trouble)
    data = {"externalTenantId": f"{TENANT}-0", "creditor": PERSONAL["debtor"]}
    body = json.dumps({"id": "event-1", "event": "client.linked", "data": data}).encode()
    for secret in (b"somebody else's secret", WEBHOOK_SECRET):
        signed = headers_for("client.linked", body, secret, signed_at=time.time())
        page.ask("webhooks/debitura", "POST", data=body, headers=signed)
    until("it is replayed", lambda: stage.rows(found) == [("submitted",)], within=30, but=page.said)


def the_page_has_trouble(stage: Stage, page: Page) -> None:
    """Visit the page with references and tenants in the URL, with a column missing, and without a database."""
    asked = {"reference": PERSONAL["creditorReference"], "tenant": f"{TENANT}-0"}
    page.ask("jobs", params=asked)
    stage.rows("ALTER TABLE dead_letters RENAME COLUMN solution_url TO missing")
    assert page.ask("jobs", params=asked).status_code == 503
    stage.rows("ALTER TABLE dead_letters RENAME COLUMN missing TO solution_url")
    stage.ledger_proxy.refuse()
    assert page.ask("readyz").status_code == 503
    page.ask("jobs", params=asked)
    stage.ledger_proxy.heal()


def constraint_that_repeats_the_row(stage: Stage) -> None:
    """A bug for which PostgreSQL's error text contains the whole row, including the case."""
    stage.rows(
        "ALTER TABLE jobs ADD CONSTRAINT bug CHECK (state <> 'submitting' OR external_tenant_id <> 'geheimkunde-0')"
        " NOT VALID"
    )
    enqueue(stage, 1)
    until("a task fails", lambda: "CheckViolation" in stage.nodes[0].said(), within=30, but=stage.nodes[0].said)
    stage.rows("ALTER TABLE jobs DROP CONSTRAINT bug")


def unreadable(stage: Stage) -> None:
    """Queue entries that aren't our messages; each contains a case."""
    broken = accept(external_tenant_id=TENANT, case=PERSONAL, colour=PERSONAL["comments"])
    eta = envelope(broken, lambda message: message["headers"].__setitem__("eta", "2030-01-01T00:00:00Z"))
    client = stage.valkey.client()
    try:
        client.lpush(INTAKE, json.dumps(PERSONAL), f"{PERSONAL}", envelope(broken), eta)
    finally:
        client.close()
    kept = "SELECT count(*) FROM dead_letters WHERE reason = 'malformed_message'"
    until("all are kept", lambda: stage.rows(kept) == [(4,)], within=30, but=stage.nodes[0].said)


@pytest.fixture(scope="module")
def told(stage: Stage, collector: Collector) -> Iterator[str]:
    """Everything that the worker and the page wrote to their logs."""
    page = Page(stage)
    page.start()
    try:
        page.ready()
        everything_goes_wrong(stage)
        a_link_heals(stage, page)
        the_page_has_trouble(stage, page)
        stage.nodes[0].stop()
        page.stop()
        yield stage.nodes[0].logs() + page.logs()
    finally:
        page.teardown()


def strings(value: Any) -> Iterator[str]:
    """Every text in a case, except short codes."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, str) and len(value) > 3 and value != "Private":
        yield value


def test_no_log_line_holds_a_token_a_key_or_a_debtors_data(told: str, stage: Stage) -> None:
    assert len(told.splitlines()) > 50
    for event in REACHED:
        assert event in told, f"the run did not get as far as {event}"
    for secret in (*SECRETS, *strings(PERSONAL), TENANT):
        assert secret not in told, [line for line in told.splitlines() if secret in line][:3]
    assert not re.search(r"eyJ[\w-]{8,}", told), "the beginning of a token"
    token = requests.post(
        f"{stage.witness.url}/oauth/token", json={"externalTenantId": "x"}, headers={"XApiKey": API_KEY}, timeout=10
    ).json()["accessToken"]
    assert token.startswith("eyJ"), "tokens look otherwise: fix this test"


def test_events_are_json_with_fixed_names_and_those_of_a_job_name_it_and_its_tenants_digest(told: str) -> None:
    from worker.telemetry.logging import tenant_key

    digest = digest_with(tenant_key({"LOG_TENANT_KEY": TENANT_KEY}), f"{TENANT}-0")
    events = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    ours = [event for event in events if event["logger"].startswith("worker.")]
    assert all(re.fullmatch(r"[a-z_]+", event["event"]) for event in ours)
    jobs = [event for event in ours if "job_id" in event]
    assert {event["event"] for event in jobs} >= {"job_submitted", "job_dead", "job_waiting", "attempt_failed_by_bug"}
    assert all(re.fullmatch(r"[0-9a-f]{12}", event["tenant"]) for event in jobs)
    assert digest in {event["tenant"] for event in jobs}
    assert TRACE in {event.get("trace_id") for event in jobs if event["event"] != "job_accepted"}


def test_a_trace_begun_by_the_sender_goes_from_the_message_to_the_api(
    told: str, stage: Stage, collector: Collector
) -> None:
    names = ("cases.accept", "enqueue", "attempt", "POST /cases")
    until("the spans have come", lambda: all(collector.named(name) for name in names), within=20)

    ((accepted,), (enqueued,)) = collector.named("cases.accept"), collector.named("enqueue")
    assert accepted.parent_span_id.hex() == PARENT.split("-")[2]
    assert enqueued.parent_span_id == accepted.span_id
    attempts = {attempt.span_id for attempt in collector.named("attempt")}
    assert {attempt.parent_span_id for attempt in collector.named("attempt")} == {enqueued.span_id}
    assert {post.parent_span_id for post in collector.named("POST /cases")} <= attempts


def test_no_span_holds_a_token_a_key_or_a_debtors_data(told: str, collector: Collector) -> None:
    spans = "\n".join(str(span) for span in collector.spans)
    assert "ZeroDivisionError" in spans
    for secret in (*SECRETS, *strings(PERSONAL), TENANT, "eyJ"):
        assert secret not in spans
