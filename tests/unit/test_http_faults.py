"""Every network failure is either NotSent (certainly) or MaybeArrived; no other exception escapes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest
import requests
import urllib3

from tests.support.scripted_server import Action, ScriptedServer, answer, raw, reset, silence
from worker.debitura.http import HttpClient
from worker.errors import MaybeArrived, NotSent


def send(url: str, timeout: float = 5.0) -> None:
    HttpClient(url, timeout=timeout, connections=2).request("POST", "/cases", {"Authorization": "Bearer s3cret"}, b"{}")


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """An address where connecting hangs: a listener with a full backlog."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            peer = socket.socket()
            peer.setblocking(False)
            peer.connect_ex(listener.getsockname())
            waiting.append(peer)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for peer in waiting:
            peer.close()


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_refused_connection_was_certainly_not_sent(closed_port: str) -> None:
    with pytest.raises(NotSent, match="the connection failed"):
        send(closed_port)


def test_an_unknown_name_was_certainly_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotSent, match="the connection failed"):
        send("http://no-such-host.invalid")


def test_a_connect_timeout_was_certainly_not_sent(full_backlog: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotSent, match="no connection before the timeout"):
        send(full_backlog, timeout=0.2)

    assert time.monotonic() - began < 5


def test_an_unreachable_proxy_was_certainly_not_sent(closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", closed_port)
    with pytest.raises(NotSent):
        send("https://api.example")


def test_a_proxy_that_refuses_the_tunnel_was_certainly_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(answer(403, b"no")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(NotSent):
            send("https://api.example")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (reset, "broke"),
        (raw(b""), "broke"),
        (raw(b"HTTP/1.1 2"), "broke"),
        (raw(b"SSH-2.0-OpenSSH_9\r\n"), "broke"),
        (raw(b"HTTP/1.1 abc OK\r\n\r\n"), "broke"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"), "broke"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), "broke"),
        (silence, "no response before the timeout"),
    ],
    ids=["reset", "closed", "half a status line", "not HTTP", "bad status", "500 headers", "long header", "silence"],
)
def test_what_breaks_after_sending_may_have_arrived(action: Action, words: str) -> None:
    with ScriptedServer(action) as server, pytest.raises(MaybeArrived, match=words):
        send(server.url, timeout=0.5)

    assert len(server.requests) == 1


def test_a_kept_alive_connection_that_breaks_under_a_request_is_not_tried_again() -> None:
    """urllib3 and requests would like to repeat; here only the ledger repeats."""
    with ScriptedServer(answer(), reset) as server:
        client = HttpClient(server.url, timeout=5, connections=1)
        client.request("POST", "/cases", {}, b"{}")
        with pytest.raises(MaybeArrived):
            client.request("POST", "/cases", {}, b"{}")

    assert len(server.requests) == 2


def test_a_silent_tls_server_is_not_waited_for_longer_than_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises((NotSent, MaybeArrived)):
            send(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=0.3)

    assert time.monotonic() - began < 5


def test_a_server_that_does_not_speak_tls_is_a_failure_of_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        sending = threads.submit(send, f"https://127.0.0.1:{listener.getsockname()[1]}")
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(MaybeArrived, match="TLS"):
                sending.result(10)


OLD = urllib3.connectionpool.HTTPConnectionPool("h")
NEW_CONNECTION = urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (requests.ConnectTimeout(), NotSent),
        (requests.exceptions.ProxyError(), NotSent),
        (requests.ConnectionError(urllib3.exceptions.MaxRetryError(OLD, "/", NEW_CONNECTION)), NotSent),
        (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), NotSent),
        (requests.exceptions.SSLError("EOF occurred in violation of protocol"), MaybeArrived),
        (requests.ReadTimeout(), MaybeArrived),
        (requests.Timeout(), MaybeArrived),
        (requests.ConnectionError(), MaybeArrived),
        (requests.ConnectionError("text"), MaybeArrived),
        (requests.exceptions.ChunkedEncodingError(), MaybeArrived),
        (requests.exceptions.ContentDecodingError(), MaybeArrived),
        (requests.exceptions.InvalidHeader(), MaybeArrived),
        (requests.exceptions.RetryError(), MaybeArrived),
        (requests.exceptions.RequestException(), MaybeArrived),
        (urllib3.exceptions.ProtocolError(), MaybeArrived),
        (urllib3.exceptions.ReadTimeoutError(OLD, "/", "x"), MaybeArrived),
        (urllib3.exceptions.IncompleteRead(1, 2), MaybeArrived),
        (urllib3.exceptions.LocationParseError("x"), MaybeArrived),
        (urllib3.exceptions.ClosedPoolError(OLD, "x"), MaybeArrived),
        (urllib3.exceptions.HTTPError(), MaybeArrived),
        (HTTPException(), MaybeArrived),
        (ConnectionResetError(), MaybeArrived),
        (BrokenPipeError(), MaybeArrived),
        (TimeoutError(), MaybeArrived),
        (OSError("anything"), MaybeArrived),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, Exception) else value.__name__,
)
def test_every_foreign_exception_becomes_ours(
    foreign: Exception, ours: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise foreign

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", fail)
    with pytest.raises(ours) as found:
        send("http://127.0.0.1:1")

    assert type(found.value) is ours
    assert found.value.__cause__ is None, "the foreign one's text may hold the request"
    assert found.value.__suppress_context__


@pytest.mark.parametrize("action", [reset, silence, raw(b"")], ids=["reset", "silence", "closed"])
def test_no_failure_s_words_hold_anything_of_the_request(action: Action) -> None:
    with ScriptedServer(action) as server, pytest.raises(MaybeArrived) as found:
        send(server.url, timeout=0.2)

    assert "s3cret" not in str(found.value)
    assert "/cases" not in str(found.value)
    assert "127.0.0.1" not in str(found.value)
