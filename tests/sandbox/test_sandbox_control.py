"""The control endpoints, the examples, and the sandbox as a process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
import requests

from tests.support.sandbox_clock import Clock
from tests.support.sandbox_partner import Partner


def test_given_requests_when_listed_then_each_is_told_with_its_answer(partner: Partner, clock: Clock) -> None:
    partner.post(partner.case(), key="k")

    token, case = partner.look("requests")

    assert (token["path"], token["externalTenantId"], token["status"]) == ("/oauth/token", "acme", 200)
    body = requests.Request("POST", "http://x", json=partner.case()).prepare().body
    assert case == {
        "at": clock.now,
        "method": "POST",
        "path": "/cases",
        "externalTenantId": "acme",
        "idempotencyKey": "k",
        "status": 200,
        "bodySha256": sha256(body).hexdigest(),
        "headers": {"accept": "application/json", "userAgent": partner.http.headers["User-Agent"]},
    }


def test_given_requests_of_many_when_filtered_then_only_those_are_told(partner: Partner) -> None:
    for tenant in ("a", "b"):
        partner.post(partner.case(), tenant=tenant)
        partner.get("/cases/by-creditor-reference/x%20y", tenant=tenant)

    assert len(partner.look("requests", tenant="a")) == 3
    assert len(partner.look("requests", path="/cases")) == 2
    assert len(partner.look("requests", path="/cases", tenant="b")) == 1
    assert partner.look("requests", path="/cases/*")[0]["path"] == "/cases/by-creditor-reference/x%20y"


def test_given_cases_when_listed_then_each_is_told(partner: Partner, clock: Clock) -> None:
    answer = partner.post(partner.case(creditorReference="R"), key="k").json()

    (case,) = partner.look("cases")

    assert case.pop("bodySha256") == partner.look("requests", path="/cases")[0]["bodySha256"]
    assert case == {
        "id": answer["id"],
        "reference": answer["reference"],
        "creditorReference": "R",
        "externalTenantId": "acme",
        "idempotencyKey": "k",
        "createdAt": clock.now,
    }


def test_given_traffic_when_counted_then_by_route_and_status(partner: Partner) -> None:
    partner.post(partner.case())
    partner.post(partner.case(currencyCode="?"))
    with pytest.raises(requests.ConnectionError):
        partner.post(partner.case(tag="sandbox:drop-before"))
    partner.get("/cases/by-creditor-reference/x")

    stats = partner.stats()

    assert stats["requests"] == {
        "POST /oauth/token": {"200": 1},
        "POST /cases": {"200": 1, "400": 1, "none": 1},
        "GET /cases/by-creditor-reference/{creditorReference}": {"404": 1},
    }
    assert (stats["cases"], stats["mints"], stats["max_cases_per_reference"]) == (1, 1, 0)


def test_given_a_used_sandbox_when_reset_then_it_is_new(partner: Partner) -> None:
    partner.post(partner.case(creditorReference="R"), key="k")
    partner.control("links", externalTenantId="acme", state="blocked")
    partner.control("settings", rateLimits="1/day", tokenSeconds=5)
    partner.control("faults", rules=[{"kind": "hang"}])
    partner.control("api-key", accepted=False)

    partner.control("reset")

    assert partner.stats()["cases"] == partner.stats()["mints"] == 0
    assert partner.look("requests") == partner.look("cases") == []
    assert partner.get("/me").status_code == 401
    partner.forget_tokens()
    assert partner.post(partner.case(creditorReference="R"), key="k").status_code == 200


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("links", {"externalTenantId": "a", "state": "lost"}),
        ("links", {"state": "ok"}),
        ("revoke-tokens", {"externalTenantId": 5}),
        ("api-key", {}),
        ("settings", {"tokenSeconds": "60"}),
        ("settings", {"latencyMs": -1}),
        ("settings", {"rateLimits": "fast"}),
        ("settings", {"tokenLife": 5}),
        ("faults", {}),
        ("faults", []),
    ],
)
def test_given_bad_fields_when_controlling_then_400_says_why(partner: Partner, name: str, fields: object) -> None:
    answer = requests.post(f"{partner.url}/_sandbox/{name}", json=fields, timeout=5)

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_given_an_unknown_control_endpoint_when_asked_then_404_names_the_known(partner: Partner) -> None:
    answer = requests.get(f"{partner.url}/_sandbox/nothing", timeout=5)

    assert answer.status_code == 404
    assert "POST faults" in answer.json()["error"]


def test_given_the_examples_when_each_is_sent_as_a_worker_would_then_all_outcomes_are_there(
    partner: Partner, examples: list[dict[str, Any]]
) -> None:
    outcomes = Counter(outcome_of(partner, line) for line in examples)

    assert len(examples) >= 48
    assert len({line["externalTenantId"] for line in examples}) >= 10
    assert outcomes == {
        "taken": 32,
        "taken, recovered": 4,
        "reset": 2,
        "link missing": 1,
        "401": 2,
        "400": 7,
        "422": 6,
        "403": 1,
        "404": 1,
        "418": 1,
        "500": 1,
    }
    assert partner.stats()["max_cases_per_reference"] == 1


def outcome_of(partner: Partner, line: dict[str, Any]) -> str:
    tenant = line["externalTenantId"]
    if partner.mint(tenant).status_code == 404:
        return "link missing"
    key = line.get("idempotencyKey") or f"ref:{line['case'].get('creditorReference')}"
    answers = [attempt(partner, line["case"], tenant, key) for _ in range(2)]
    first, second = (None if answer is None else answer.status_code for answer in answers)
    if second == 200:
        return "taken" if first == 200 else "taken, recovered"
    return "reset" if second is None else str(second)


def attempt(partner: Partner, case: dict[str, Any], tenant: str, key: str) -> requests.Response | None:
    try:
        return partner.post(case, tenant=tenant, key=key)
    except requests.ConnectionError:
        return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_given_the_command_when_started_then_one_line_tells_the_address_and_a_signal_ends_it(
    number: signal.Signals,
) -> None:
    command = [sys.executable, "-m", "worker.sandbox", "--port", "0", "--api-key", "k", "--rate-limits", "1/hour"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        match = re.fullmatch(r"sandbox listening on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
        assert match is not None
        with Partner(match[1], api_key="k") as partner:
            assert [partner.get("/me").status_code for _ in range(2)] == [200, 429]

            process.send_signal(number)

            assert process.wait(timeout=10) == 0
        assert process.stdout.read() == process.stderr.read() == ""


def test_given_bad_limits_when_the_command_starts_then_it_says_what_they_should_be() -> None:
    command = [sys.executable, "-m", "worker.sandbox", "--rate-limits", "fast"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 2
    assert "2000/minute;20000/hour" in done.stderr
