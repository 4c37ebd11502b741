"""Idempotency-Key (developer-concepts/idempotency)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.sandbox_partner import Partner


def test_given_a_used_key_when_repeated_then_the_stored_answer_is_replayed(partner: Partner) -> None:
    first = partner.post(partner.case(), key="k")
    again = partner.post(partner.case(), key="k")

    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert partner.stats()["cases"] == 1


def test_given_no_key_when_repeated_then_there_are_two_cases(partner: Partner) -> None:
    ids = {partner.post(partner.case()).json()["id"] for _ in range(2)}

    assert len(ids) == partner.stats()["cases"] == partner.stats()["max_cases_per_body"] == 2


def test_given_a_used_key_when_the_body_differs_then_conflict_and_no_case(partner: Partner) -> None:
    partner.post(partner.case(), key="k")

    answer = partner.post(partner.case(comments="changed"), key="k")

    assert answer.status_code == 422
    assert answer.json()["businessErrors"][0]["type"] == "IdempotencyConflict"
    assert partner.stats()["cases"] == 1


def test_given_a_key_of_one_creditor_when_another_uses_it_then_both_cases_are_taken(partner: Partner) -> None:
    assert partner.post(partner.case(), tenant="a", key="k").status_code == 200
    assert partner.post(partner.case(comments="other"), tenant="b", key="k").status_code == 200


def test_given_a_field_error_when_corrected_then_the_same_key_may_be_used(partner: Partner) -> None:
    assert partner.post(partner.case(currencyCode="?"), key="k").status_code == 400
    assert partner.post(partner.case(), key="k").status_code == 200


def test_given_a_stored_422_when_the_cause_is_gone_then_the_same_key_still_gets_it(partner: Partner) -> None:
    refused = partner.post(partner.case(), tenant="unfinished-1", key="k")
    partner.control("links", externalTenantId="unfinished-1", state="ok")

    again = partner.post(partner.case(), tenant="unfinished-1", key="k")

    assert refused.status_code == again.status_code == 422
    assert refused.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert partner.post(partner.case(), tenant="unfinished-1", key="new").status_code == 200


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 503])
def test_given_an_answer_that_is_not_terminal_when_repeated_then_the_key_is_free(partner: Partner, status: int) -> None:
    case = partner.case(tag=f"sandbox:{status}-once")

    assert partner.post(case, key="k").status_code == status
    again = partner.post(case, key="k")

    assert again.status_code == 200
    assert "Idempotent-Replayed" not in again.headers


def test_given_the_longest_key_when_used_then_it_counts_and_a_longer_one_is_refused(partner: Partner) -> None:
    assert partner.post(partner.case(), key="k" * 255).status_code == 200

    too_long = partner.post(partner.case(), key="k" * 256)

    assert too_long.status_code == 400
    assert list(too_long.json()) == ["Idempotency-Key"]
    assert partner.stats()["cases"] == 1


def test_given_the_first_use_is_in_flight_when_repeated_then_409_and_later_the_replay(partner: Partner) -> None:
    case = partner.case(tag="sandbox:slow=400")
    partner.token()
    with ThreadPoolExecutor(1) as pool, Partner(partner.url) as other:
        other.token()
        first = pool.submit(other.post, case, key="k")
        wait_for_flight(partner)

        meanwhile = partner.post(case, key="k")
        changed = partner.post(partner.case(), key="k")

        assert meanwhile.status_code == 409
        assert changed.status_code == 422
        assert first.result().status_code == 200
    replay = partner.post(case, key="k")
    assert replay.content == first.result().content
    assert partner.stats()["keys_in_flight"] == 0
    assert partner.stats()["cases"] == 1


def test_given_the_client_leaves_while_in_flight_when_it_returns_then_the_case_was_taken(partner: Partner) -> None:
    case = partner.case(tag="sandbox:slow=200", creditorReference="INV-1")
    with pytest.raises(OSError, match="timed out"):
        partner.post(case, key="k", timeout=0.05)
    assert partner.get("/cases/by-creditor-reference/INV-1").status_code == 404

    while partner.post(case, key="k").status_code == 409:
        time.sleep(0.02)

    assert partner.get("/cases/by-creditor-reference/INV-1").status_code == 200
    assert partner.stats()["cases"] == 1


def wait_for_flight(partner: Partner) -> None:
    deadline = time.monotonic() + 5
    while partner.stats()["keys_in_flight"] == 0:
        assert time.monotonic() < deadline, "the first request never came in"
