"""A worker's small HTTP server: its pages, and that no client can block it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests

from worker.errors import SettingsError
from worker.process.health_server import HealthServer, listen


@pytest.fixture(scope="module")
def server() -> Iterator[HealthServer]:
    server = listen(
        "127.0.0.1",
        0,
        {
            "/healthz": lambda _accept: (503, "text/plain", b"not well\n"),
            "/metrics": lambda accept: (200, "text/x", (accept or "").encode()),
            "/broken": lambda _accept: (_ for _ in ()).throw(ZeroDivisionError),
        },
    )
    server.start()
    yield server
    server.shutdown()
    server.server_close()


def ask(server: HealthServer, path: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{server.port}{path}", headers={"Accept": "a/b"}, timeout=10)


def test_each_page_answers_for_itself(server: HealthServer) -> None:
    answer = ask(server, "/healthz?probe=1")
    assert (answer.status_code, answer.text) == (503, "not well\n")
    answer = ask(server, "/metrics")
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (200, "a/b", "text/x")
    assert answer.headers["Server"] == "case-worker", "no versions for passers-by"


def test_the_health_server_has_no_other_pages(server: HealthServer) -> None:
    assert ask(server, "/").status_code == 404
    assert requests.post(f"http://127.0.0.1:{server.port}/healthz", timeout=10).status_code == 501


def test_a_fault_of_one_page_harms_no_other(server: HealthServer) -> None:
    with pytest.raises(requests.ConnectionError):
        ask(server, "/broken")
    assert ask(server, "/metrics").status_code == 200


def test_somebody_who_connects_and_says_nothing_holds_up_nobody(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert ask(server, "/metrics").status_code == 200


def test_an_address_that_cannot_be_had_is_one_line_that_names_the_setting(server: HealthServer) -> None:
    with pytest.raises(SettingsError, match=r"^WORKER_METRICS_HOST and WORKER_METRICS_PORT should be an address"):
        listen("127.0.0.1", server.port, {})
    with pytest.raises(SettingsError, match="not 'no such host' and 9808"):
        listen("no such host", 9808, {})
