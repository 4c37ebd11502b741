"""The HTTP client over real sockets: what is sent, which connections are used, how much is read."""

from __future__ import annotations

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import pytest

from tests.support.scripted_server import ScriptedServer, answer, drip, raw
from worker.debitura.apis import find_case, post_case
from worker.debitura.http import MAX_BODY, HttpClient, Reply


def client_of(server: ScriptedServer, *, timeout: float = 5.0, connections: int = 4) -> HttpClient:
    return HttpClient(server.url, timeout=timeout, connections=connections)


def test_one_connection_carries_many_requests() -> None:
    with ScriptedServer() as server:
        client = client_of(server)
        for _ in range(20):
            assert client.request("POST", "/cases", {}, b"{}") == Reply(200, b"{}")

    assert len(server.requests) == 20
    assert server.connections == 1


def test_threads_share_the_connections() -> None:
    with ScriptedServer() as server, ThreadPoolExecutor(4) as threads:
        client = client_of(server, connections=4)
        list(threads.map(lambda _: client.request("GET", "/", {}), range(200)))

    assert len(server.requests) == 200
    assert server.connections <= 4


@pytest.mark.parametrize(
    "odd",
    [answer(401), answer(404, b"<html>"), answer(204, b""), answer(302, b"", "Location: /elsewhere")],
    ids=["401", "404", "204", "302"],
)
def test_an_error_does_not_cost_the_connection(odd: object) -> None:
    with ScriptedServer(odd, answer()) as server:  # type: ignore[arg-type]
        client = client_of(server)
        client.request("GET", "/", {})
        client.request("GET", "/", {})

    assert server.connections == 1


def test_a_connection_that_the_server_closed_while_idle_is_replaced_without_a_fault() -> None:
    with ScriptedServer(answer(200, b"{}", "Connection: close"), answer()) as server:
        client = client_of(server)
        assert [client.request("POST", "/", {}, b"x").status for _ in range(3)] == [200, 200, 200]

    assert server.connections == 2


def test_every_request_has_our_user_agent_and_no_cookie() -> None:
    with ScriptedServer() as server:
        client_of(server).request("POST", "/cases", {"X-Own": "1"}, b"body")

    head = server.head()
    assert head["user-agent"].startswith(f"case-worker/{version('case-worker')} ")
    assert head["accept"] == "application/json"
    assert head["x-own"] == "1"
    assert head["content-length"] == "4"
    assert "cookie" not in head


def test_a_case_is_sent_to_the_byte_with_its_key_and_token() -> None:
    body = '{"name":"Ærø 🏦","amount":1250.10}'.encode()
    with ScriptedServer() as server:
        post_case(client_of(server), token="tok.en", submission_key="the-key", body=body)

    assert server.line() == "POST /cases HTTP/1.1"
    assert server.body() == body
    head = server.head()
    assert head["authorization"] == "Bearer tok.en"
    assert head["idempotency-key"] == "the-key"
    assert head["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("INV-1", "INV-1"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("50% off & more", "50%25%20off%20%26%20more"),
        ("Ærø", "%C3%86r%C3%B8"),
        ("%2F", "%252F"),
        ("a\r\nX: y", "a%0D%0AX%3A%20y"),
    ],
)
def test_a_reference_is_looked_up_to_the_letter(reference: str, path: str) -> None:
    with ScriptedServer() as server:
        find_case(client_of(server), token="t", creditor_reference=reference)

    assert server.line() == f"GET /cases/by-creditor-reference/{path} HTTP/1.1"


def test_no_cookie_ever_travels_with_another_request() -> None:
    with ScriptedServer(answer(200, b"{}", "Set-Cookie: tenant=acme; Path=/")) as server:
        client = client_of(server)
        client.request("GET", "/", {})
        client.request("GET", "/", {})

    assert "cookie" not in server.head(1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with ScriptedServer(answer(status, b"", "Location: /elsewhere")) as server:
        reply = client_of(server).request("POST", "/cases", {}, b"{}")

    assert reply.status == status
    assert len(server.requests) == 1


def test_netrc_and_environment_never_add_to_a_request(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    netrc = tmp_path / "netrc"  # type: ignore[operator]
    netrc.write_text("machine 127.0.0.1 login someone password else")
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer() as server:
        client_of(server).request("GET", "/", {})

    assert "authorization" not in server.head()


def test_an_answer_of_20_mb_is_cut_off_and_its_connection_given_up() -> None:
    huge = b'{"padding":"' + b"x" * 20_000_000 + b'"}'
    with ScriptedServer(answer(200, huge), answer()) as server:
        client = client_of(server)
        reply = client.request("POST", "/cases", {}, b"{}")
        again = client.request("POST", "/cases", {}, b"{}")

    assert (reply.status, len(reply.body), reply.whole) == (200, MAX_BODY, False)
    assert again == Reply(200, b"{}")
    assert server.connections == 2


def test_a_small_answer_that_unpacks_without_end_is_cut_off_too() -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    with ScriptedServer(answer(200, bomb, "Content-Encoding: gzip")) as server:
        reply = client_of(server).request("GET", "/", {})

    assert len(reply.body) == MAX_BODY
    assert not reply.whole


def test_an_answer_at_the_limit_is_whole() -> None:
    with ScriptedServer(answer(200, b"x" * MAX_BODY)) as server:
        reply = client_of(server).request("GET", "/", {})

    assert (len(reply.body), reply.whole) == (MAX_BODY, True)


@pytest.mark.parametrize(
    "broken",
    [
        answer(200, b'{"id": "half', length=100),
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{"id": "half'),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
        answer(200, b"this is not gzip", "Content-Encoding: gzip"),
    ],
    ids=["content-length", "chunk", "bad chunk", "bad gzip"],
)
def test_an_answer_that_breaks_off_still_has_its_status(broken: object) -> None:
    """The status line arrived, and a 401 or 429 is clear without its body."""
    with ScriptedServer(broken) as server:  # type: ignore[arg-type]
        reply = client_of(server).request("POST", "/cases", {}, b"{}")

    assert reply.status == 200
    assert not reply.whole


def test_chunks_and_unknown_lengths_are_read_whole() -> None:
    chunked = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", stays_open=True)
    until_close = raw(b"HTTP/1.1 200 OK\r\n\r\n{}")
    with ScriptedServer(chunked, until_close) as server:
        client = client_of(server)
        assert client.request("GET", "/", {}) == Reply(200, b"{}")
        assert client.request("GET", "/", {}) == Reply(200, b"{}")


def test_a_body_that_drips_ends_in_bounded_time() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    with ScriptedServer(drip(head, b"x", 0.05)) as server:
        began = time.monotonic()
        reply = client_of(server, timeout=0.3).request("GET", "/", {})

    assert time.monotonic() - began < 5
    assert (reply.status, reply.whole) == (200, False)


def test_the_retry_after_header_is_handed_on() -> None:
    with ScriptedServer(answer(429, b"{}", "Retry-After: 7")) as server:
        assert client_of(server).request("GET", "/", {}).retry_after == "7"


def test_a_slow_request_does_not_hold_up_the_others() -> None:
    release = threading.Event()

    def wait(connection: object) -> bool:
        release.wait(10)
        return answer()(connection)  # type: ignore[arg-type]

    with ScriptedServer(wait, answer()) as server, ThreadPoolExecutor(2) as threads:
        client = client_of(server)
        slow = threads.submit(client.request, "GET", "/", {})
        while not server.requests:
            time.sleep(0.005)
        assert client.request("GET", "/", {}).status == 200
        assert not slow.done()
        release.set()
        assert slow.result(10).status == 200
