"""The sandbox's HTTP server: malformed requests, size limits, content types."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.sandbox_partner import Partner
from worker.sandbox.http import MAX_BODY_BYTES
from worker.sandbox.server import SandboxServer


class Wire:
    """A bare connection."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while end not in data and (piece := self.socket.recv(65536)):
            data += piece
        return data

    def read_all(self) -> bytes:
        return self.read_until(b"\0 never sent")


@pytest.fixture
def wire(sandbox: SandboxServer) -> Iterator[Wire]:
    wire = Wire(sandbox.url)
    with wire.socket:
        yield wire


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /cases HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /cases HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /cases HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /me HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_given_a_bad_request_when_sent_then_400_and_the_connection_closes(wire: Wire, data: bytes) -> None:
    wire.send(data)

    answer = wire.read_all()

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in answer


def test_given_an_announced_body_over_the_cap_when_sent_then_413_before_it_arrives(wire: Wire) -> None:
    wire.send(b"POST /cases HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))

    assert wire.read_all().startswith(b"HTTP/1.1 413 ")


def test_given_a_large_body_when_sent_whole_then_the_client_still_reads_the_413(partner: Partner) -> None:
    answer = partner.post(partner.case(comments="x" * 5_000_000))

    assert answer.status_code == 413


def test_given_a_chunked_body_over_the_cap_when_sent_then_413(wire: Wire) -> None:
    wire.send(b"POST /cases HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(b"%x\r\n" % (2 * MAX_BODY_BYTES) + b"x" * (MAX_BODY_BYTES + 1))

    assert wire.read_all().startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /me HTTP/1.1\r\nA: " + b"x" * 40_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_given_an_endless_head_when_sent_then_it_is_refused(wire: Wire, start: bytes, status: bytes) -> None:
    wire.send(start)

    assert wire.read_all().startswith(b"HTTP/1.1 " + status)


def test_given_requests_in_one_packet_when_sent_then_answers_come_in_order(wire: Wire) -> None:
    wire.send(
        b"GET /_sandbox/health HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )

    answers = wire.read_all()

    positions = [answers.index(b"HTTP/1.1 " + status) for status in (b"200", b"401", b"404")]
    assert positions == sorted(positions)


def test_given_a_request_byte_by_byte_when_sent_then_it_is_understood(wire: Wire) -> None:
    for byte in b"GET /_sandbox/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
        wire.send(bytes([byte]))

    assert wire.read_all().endswith(b'{"status":"ok"}')


def test_given_a_chunked_body_when_sent_then_it_is_put_together(partner: Partner) -> None:
    text = json.dumps(partner.case()).encode()
    headers = partner.headers() | {"Content-Type": "application/json"}

    answer = partner.http.post(f"{partner.url}/cases", data=iter([text[:7], text[7:]]), headers=headers, timeout=5)

    assert answer.status_code == 200


def test_given_expect_when_sent_then_the_body_is_asked_for(wire: Wire) -> None:
    wire.send(
        b"POST /_sandbox/reset HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")

    wire.send(b"{}")

    assert wire.read_all().startswith(b"HTTP/1.1 200 ")


@given(data=st.binary(min_size=1, max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_given_any_bytes_when_sent_then_the_sandbox_lives_on(sandbox: SandboxServer, data: bytes) -> None:
    wire = Wire(sandbox.url)
    with wire.socket:
        wire.send(data)
        wire.socket.shutdown(socket.SHUT_WR)

    assert requests.get(f"{sandbox.url}/_sandbox/health", timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json", "application/json; charset=utf-8"),
        ("text/plain, application/json", "application/json; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        (None, "text/plain; charset=utf-8"),
    ],
)
def test_given_an_accept_header_when_json_is_not_named_then_text_plain(
    partner: Partner, accept: str | None, content_type: str
) -> None:
    for path in ("/cases", "/me"):
        answer = partner.http.request(
            "POST" if path == "/cases" else "GET",
            f"{partner.url}{path}",
            json=partner.case(),
            headers=partner.headers() | {"Accept": accept},
            timeout=5,
        )
        assert answer.headers["Content-Type"] == content_type
        assert answer.json()["id"]


def test_given_another_content_type_when_posted_then_415(partner: Partner) -> None:
    for headers in (partner.headers(), partner.headers() | {"Content-Type": "text/plain"}):
        answer = partner.http.post(f"{partner.url}/cases", data=b"{}", headers=headers, timeout=5)
        assert answer.status_code == 415


def test_given_another_method_or_path_when_asked_then_405_or_404(partner: Partner) -> None:
    assert partner.http.put(f"{partner.url}/cases", timeout=5).headers["Allow"] == "POST"
    assert partner.get("/cases").status_code == 405
    assert partner.get("/").status_code == partner.get("/cases/").status_code == 404


def test_given_an_error_of_the_sandbox_itself_when_asked_then_500_without_the_traceback(
    partner: Partner, sandbox: SandboxServer, capfd: pytest.CaptureFixture[str]
) -> None:
    partner.token()
    sandbox.sandbox.state.cases = None  # type: ignore[assignment] - the sandbox broken on purpose

    answer = partner.post(partner.case(creditorReference="R"))

    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert "Traceback" in capfd.readouterr().err
