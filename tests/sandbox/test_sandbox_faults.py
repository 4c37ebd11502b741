"""Faults that are switched on from outside (worker/sandbox/faults.py)."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
import requests

from tests.support.sandbox_partner import Partner


def switch(partner: Partner, kind: str, **fields: Any) -> None:
    partner.control("faults", rules=[{"kind": kind, **fields}])


@pytest.mark.parametrize("endpoint", ["cases", "token", "lookup", "clients", "*"])
def test_given_a_status_fault_when_endpoints_are_asked_then_only_its_own_fails(partner: Partner, endpoint: str) -> None:
    partner.token()
    switch(partner, "status", endpoint=endpoint, status=503)

    answers = {
        "cases": partner.post(partner.case()),
        "token": partner.mint(),
        "lookup": partner.get("/cases/by-creditor-reference/x"),
        "clients": partner.client("acme"),
    }

    failed = {name for name, answer in answers.items() if answer.status_code == 503}
    assert failed == (set(answers) if endpoint == "*" else {endpoint})


def test_given_a_count_when_it_is_used_up_then_the_fault_is_over(partner: Partner) -> None:
    switch(partner, "status", endpoint="cases", status=500, times=2)

    assert [partner.post(partner.case()).status_code for _ in range(4)] == [500, 500, 200, 200]
    assert partner.stats()["faults"][0]["hits"] == 2


def test_given_a_tenant_when_others_ask_then_they_are_spared(partner: Partner) -> None:
    switch(partner, "status", endpoint="*", status=500, tenant="a")

    assert partner.mint("a").status_code == 500
    assert partner.client("a").status_code == 500
    assert partner.post(partner.case(), tenant="b").status_code == 200


def test_given_a_probability_when_the_seed_is_the_same_then_so_are_the_hits(partner: Partner) -> None:
    def run() -> list[int]:
        switch(partner, "status", endpoint="cases", status=500, probability=0.5, seed=7)
        return [partner.post(partner.case()).status_code for _ in range(20)]

    first = run()

    assert first == run()
    assert set(first) == {200, 500}


def test_given_faults_when_cleared_then_all_is_well(partner: Partner) -> None:
    switch(partner, "status", status=500)
    partner.control("faults", rules=[])

    assert partner.post(partner.case()).status_code == 200


def test_given_several_rules_when_both_fit_then_the_first_decides(partner: Partner) -> None:
    rules = [{"kind": "status", "status": 500, "times": 1}, {"kind": "conflict", "endpoint": "cases"}]
    partner.token()
    partner.control("faults", rules=rules)

    assert [partner.post(partner.case()).status_code for _ in range(2)] == [500, 409]


@pytest.mark.parametrize(("kind", "cases"), [("reset-before", 0), ("reset-after", 1)])
def test_given_a_reset_when_posted_then_the_case_is_taken_only_before_the_answer(
    partner: Partner, kind: str, cases: int
) -> None:
    switch(partner, kind, endpoint="cases")

    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        partner.post(partner.case())
    assert partner.stats()["cases"] == cases


def test_given_hang_when_posted_then_silence(partner: Partner) -> None:
    switch(partner, "hang", endpoint="cases")

    with pytest.raises(requests.ReadTimeout):
        partner.post(partner.case(), timeout=0.1)
    assert partner.stats()["cases"] == 0


def test_given_slow_headers_when_the_client_gives_up_then_the_case_comes_later(partner: Partner) -> None:
    switch(partner, "slow-headers", endpoint="cases", delayMs=1500)

    with pytest.raises(requests.ReadTimeout):
        partner.post(partner.case(), timeout=0.05)
    assert partner.stats()["cases"] == 0
    assert partner.post(partner.case()).elapsed.total_seconds() >= 1.5
    assert partner.stats()["cases"] == 2


def test_given_slow_body_when_posted_then_it_drips_in_whole(partner: Partner) -> None:
    switch(partner, "slow-body", endpoint="cases", delayMs=200)

    started = time.monotonic()
    with partner.http.post(
        f"{partner.url}/cases", json=partner.case(), headers=partner.headers(), stream=True, timeout=5
    ) as answer:
        first_piece = answer.raw.read(10)
        at_first = time.monotonic() - started
        rest = answer.raw.read()

    assert time.monotonic() - started >= 0.18 > at_first
    assert json.loads(first_piece + rest)["reference"]
    partner.control("faults", rules=[])
    assert partner.post(partner.case()).status_code == 200


@pytest.mark.parametrize("status", [200, 502])
def test_given_html_when_posted_then_a_page_and_no_case(partner: Partner, status: int) -> None:
    switch(partner, "html", endpoint="cases", status=status)

    answer = partner.post(partner.case())

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert partner.stats()["cases"] == 0


def test_given_empty_when_posted_then_no_body_but_a_case(partner: Partner) -> None:
    switch(partner, "empty", endpoint="cases")

    assert partner.post(partner.case()).content == b""
    assert partner.stats()["cases"] == 1


def test_given_truncated_token_when_minting_then_the_body_breaks_off(partner: Partner) -> None:
    switch(partner, "truncated", endpoint="token")

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        partner.mint()


def test_given_huge_when_asked_then_20_mb(partner: Partner) -> None:
    partner.token()
    switch(partner, "huge", endpoint="lookup")

    assert len(partner.get("/cases/by-creditor-reference/x").content) > 20_000_000


@pytest.mark.parametrize("value", [1.5, 0, -3, 1e300, "soon", None, [], {"seconds": 3}, True])
def test_given_any_retry_after_when_refused_then_it_is_passed_on(partner: Partner, value: object) -> None:
    switch(partner, "retry-after", endpoint="cases", retryAfter=value)

    answer = partner.post(partner.case())

    assert answer.status_code == 429
    assert answer.json()["retryAfter"] == value


def test_given_an_infinite_or_absent_retry_after_when_refused_then_it_is_passed_on(partner: Partner) -> None:
    body = b'{"rules": [{"kind": "retry-after", "endpoint": "cases", "retryAfter": 1e999}]}'
    requests.post(f"{partner.url}/_sandbox/faults", data=body, timeout=5)
    assert json.loads(partner.post(partner.case()).content)["retryAfter"] == math.inf

    switch(partner, "retry-after", endpoint="cases", retryAfterHeader="7")
    answer = partner.post(partner.case())
    assert "retryAfter" not in answer.json()
    assert answer.headers["Retry-After"] == "7"


def test_given_a_body_of_ones_own_when_a_status_is_forced_then_it_is_sent(partner: Partner) -> None:
    switch(partner, "status", endpoint="cases", status=400, body="{oops", contentType="application/json")

    answer = partner.post(partner.case())

    assert (answer.text, answer.headers["Content-Type"]) == ("{oops", "application/json")


@pytest.mark.parametrize(
    "rule",
    [
        {},
        "reset",
        {"kind": "unknown"},
        {"kind": "status"},
        {"kind": "status", "status": 99},
        {"kind": "hang", "endpoint": "case"},
        {"kind": "hang", "times": 0},
        {"kind": "hang", "probability": 2},
        {"kind": "hang", "delay": 5},
        {"kind": ["hang"]},
    ],
)
def test_given_a_bad_rule_when_switched_on_then_400_and_the_old_rules_stay(partner: Partner, rule: object) -> None:
    switch(partner, "conflict", endpoint="cases")

    answer = requests.post(f"{partner.url}/_sandbox/faults", json={"rules": [rule]}, timeout=5)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert partner.post(partner.case()).status_code == 409


def test_given_latency_when_asked_then_every_answer_is_late(partner: Partner) -> None:
    partner.token()
    partner.control("settings", latencyMs=80)

    for answer in (partner.mint(), partner.get("/me"), partner.post(partner.case())):
        assert answer.elapsed.total_seconds() >= 0.08
