"""Events as the sandbox sends them: form, signature and traps of the documentation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import pytest
import requests

from tests.support.sandbox_clock import Clock
from tests.support.sandbox_partner import Partner

SECRET = b"thisisabase64encodedsecret"
Arrived = tuple[dict[str, str], bytes]


@pytest.fixture
def inbox() -> Iterator[tuple[str, SimpleQueue[Arrived]]]:
    """The URL of a server that answers 202, and what arrives there."""
    arrived: SimpleQueue[Arrived] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()
            arrived.put((dict(self.headers.items()), body))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/in", arrived
    server.shutdown()
    server.server_close()


def send(partner: Partner, url: str, **more: Any) -> None:
    fields = {"url": url, "secret": base64.b64encode(SECRET).decode(), "event": "client.linked"}
    partner.control("webhook", **fields | {"externalTenantId": "acme"} | more)


def test_given_an_event_when_sent_then_it_has_the_documented_form(
    partner: Partner, clock: Clock, inbox: tuple[str, SimpleQueue[Arrived]]
) -> None:
    send(partner, inbox[0])

    headers, body = inbox[1].get(timeout=10)
    event = json.loads(body)
    assert event.keys() == {"id", "specVersion", "event", "timestamp", "data", "links"}
    assert UUID(event["id"])
    assert (event["specVersion"], event["event"]) == ("1.0", "client.linked")
    assert event["data"]["externalTenantId"] == "acme"
    assert headers["X-Debitura-Event"] == "client.linked"
    moment = str(int(clock.now))
    mark = hmac.new(SECRET, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Debitura-Signature"] == f"t={moment},v1={mark}"


def test_given_an_id_and_an_age_when_sent_then_it_repeats_and_is_signed_late(
    partner: Partner, clock: Clock, inbox: tuple[str, SimpleQueue[Arrived]]
) -> None:
    for _ in range(2):
        send(partner, inbox[0], id="evt-1", ageSeconds=400)

    arrived = [inbox[1].get(timeout=10) for _ in range(2)]
    assert {json.loads(body)["id"] for _, body in arrived} == {"evt-1"}
    assert {headers["X-Debitura-Timestamp"] for headers, _ in arrived} == {str(int(clock.now) - 400)}


def test_given_deliveries_when_listed_then_each_tells_what_was_answered(
    partner: Partner, inbox: tuple[str, SimpleQueue[Arrived]]
) -> None:
    send(partner, inbox[0], id="evt-1")
    send(partner, "http://127.0.0.1:1/", id="evt-2")
    pause = threading.Event()
    while any(d["status"] is None and d["error"] is None for d in partner.look("webhooks")):
        pause.wait(0.01)

    assert [(d["id"], d["status"], d["error"]) for d in partner.look("webhooks")] == [
        ("evt-1", 202, None),
        ("evt-2", None, "ConnectionRefusedError"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://x"}, {"url": 5}, {"secret": "no base64"}, {"event": ""}, {"event": None}, {"id": 5},
        {"externalTenantId": 5}, {"ageSeconds": "old"},
    ],
    ids=str,
)  # fmt: skip
def test_given_bad_fields_when_sent_then_400_says_why(partner: Partner, wrong: dict[str, Any]) -> None:
    fields = {"url": "http://127.0.0.1:1/", "secret": base64.b64encode(SECRET).decode(), "event": "client.linked"}
    answer = requests.post(f"{partner.url}/_sandbox/webhook", json=fields | wrong, timeout=5)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert partner.look("webhooks") == []
