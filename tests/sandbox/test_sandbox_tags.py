"""The magic values of a case's `tag` (worker/sandbox/tags.py)."""

from __future__ import annotations

import pytest
import requests

from tests.support.sandbox_partner import Partner
from worker.sandbox import tags


def taken(partner: Partner) -> int:
    return int(partner.stats()["cases"])


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 413, 418, 422, 429, 500, 502, 503, 504, 599])
def test_given_a_status_tag_when_posted_then_that_status_always_and_no_case(partner: Partner, status: int) -> None:
    case = partner.case(tag=f"sandbox:status={status}")

    answers = [partner.post(case, key="k") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status, status]
    assert taken(partner) == 0


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_given_a_2xx_status_tag_when_posted_then_the_case_is_taken(partner: Partner, status: int) -> None:
    assert partner.post(partner.case(tag=f"sandbox:status={status}")).status_code == status
    assert taken(partner) == 1


def test_given_status_tags_when_posted_then_bodies_are_of_their_kind(partner: Partner) -> None:
    def answer(status: int) -> requests.Response:
        return partner.post(partner.case(tag=f"sandbox:status={status}"))

    assert answer(403).json()["error"] == "Forbidden"
    assert answer(422).json()["businessErrors"][0]["type"] == "NoPartnerAvailable"
    assert answer(429).json()["retryAfter"] == 42.0
    assert answer(418).headers["Content-Type"].startswith("application/problem+json")
    assert answer(502).headers["Content-Type"].startswith("text/html")
    assert "Bad Gateway" in answer(502).text


def test_given_html_200_when_posted_then_a_page_and_no_case(partner: Partner) -> None:
    answer = partner.post(partner.case(tag="sandbox:html-200"))

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<html>")
    assert taken(partner) == 0


def test_given_empty_200_when_posted_then_nothing_in_the_body_but_a_case(partner: Partner) -> None:
    answer = partner.post(partner.case(tag="sandbox:empty-200"))

    assert (answer.status_code, answer.content) == (200, b"")
    assert taken(partner) == 1


def test_given_wrong_types_when_posted_then_they_are_wrong_but_the_case_is_right(partner: Partner) -> None:
    answer = partner.post(partner.case(tag="sandbox:wrong-types", creditorReference="R"))

    assert answer.json() == {"id": 5, "reference": []}
    assert len(partner.get("/cases/by-creditor-reference/R").json()["reference"]) == 8


def test_given_truncated_when_posted_then_the_body_breaks_off_and_the_case_is_taken(partner: Partner) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        partner.post(partner.case(tag="sandbox:truncated"))
    assert taken(partner) == 1


def test_given_huge_when_posted_then_20_mb_arrive_and_are_json(partner: Partner) -> None:
    answer = partner.post(partner.case(tag="sandbox:huge"))

    assert len(answer.content) > 20_000_000
    assert len(answer.json()["reference"]) == 8


def test_given_drop_before_when_posted_then_a_reset_and_no_case(partner: Partner) -> None:
    for _ in range(2):
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            partner.post(partner.case(tag="sandbox:drop-before"), key="k")
    assert taken(partner) == 0


def test_given_drop_after_when_posted_then_a_reset_every_time_and_one_case(partner: Partner) -> None:
    for _ in range(3):
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            partner.post(partner.case(tag="sandbox:drop-after", creditorReference="R"), key="k")

    assert taken(partner) == 1
    assert partner.get("/cases/by-creditor-reference/R").status_code == 200


def test_given_drop_after_once_when_repeated_then_the_replay_answers(partner: Partner) -> None:
    case = partner.case(tag="sandbox:drop-after-once")
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        partner.post(case, key="k")

    replay = partner.post(case, key="k")

    assert (replay.status_code, replay.headers["Idempotent-Replayed"]) == (200, "true")
    assert taken(partner) == 1


def test_given_hang_when_posted_then_silence_and_no_case(partner: Partner) -> None:
    with pytest.raises(requests.ReadTimeout):
        partner.post(partner.case(tag="sandbox:hang"), key="k", timeout=0.1)

    assert taken(partner) == partner.stats()["keys_in_flight"] == 0
    assert partner.look("requests", path="/cases")[0]["status"] is None


def test_given_slow_when_posted_then_the_answer_takes_its_time(partner: Partner) -> None:
    answer = partner.post(partner.case(tag="sandbox:slow=150"))

    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.15


def test_given_401_once_when_repeated_then_only_the_first_is_refused(partner: Partner) -> None:
    case = partner.case(tag="sandbox:401-once")

    assert [partner.post(case, key="k").status_code for _ in range(3)] == [401, 200, 200]
    assert partner.post(case, key="another").status_code == 401
    assert taken(partner) == 1


def test_given_problem_when_posted_then_rfc_7807(partner: Partner) -> None:
    answer = partner.post(partner.case(tag="sandbox:problem"))

    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json().keys() == {"type", "title", "status", "detail"}


def test_given_legacy_error_when_posted_then_the_legacy_form(partner: Partner) -> None:
    answer = partner.post(partner.case(tag="sandbox:legacy-error"))

    assert answer.status_code == 400
    assert answer.json().keys() == {"error", "message", "businessErrors"}
    assert answer.json()["businessErrors"] == []


@pytest.mark.parametrize("kind", ["MissingPowerOfAttorney", "MissingKycVerification", "SomethingNew"])
def test_given_business_when_posted_then_422_of_that_type_with_a_solution(partner: Partner, kind: str) -> None:
    first = partner.post(partner.case(tag=f"sandbox:business={kind}"), key="k")
    replay = partner.post(partner.case(tag=f"sandbox:business={kind}"), key="k")

    assert first.status_code == replay.status_code == 422
    assert first.json()["businessErrors"][0]["type"] == kind
    assert first.json()["businessErrors"][0]["solutionUrl"].startswith("https://")
    assert replay.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("tag", ["sandbox:", "sandbox:hangs", "sandbox:slow=x", "sandbox:slow=99999999"])
def test_given_a_tag_with_a_slip_when_posted_then_a_field_error(partner: Partner, tag: str) -> None:
    assert list(partner.post(partner.case(tag=tag)).json()) == ["tag"]


def test_given_any_other_tag_when_posted_then_it_means_nothing(partner: Partner) -> None:
    assert partner.post(partner.case(tag="suite-run-7")).status_code == 200


def test_given_the_help_text_when_read_then_every_tag_is_in_it() -> None:
    for name in (*tags.PLAIN, "status=NNN", "NNN-once", "slow=MS", "business=TYPE"):
        assert f"sandbox:{name} " in tags.HELP
