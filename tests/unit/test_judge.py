"""What each answer to POST /cases means, and what is stored of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.debitura.http import Reply
from worker.debitura.judge import Meaning, Verdict, judge

CASE_ID = "0b0e7c1e-6f7e-4b0e-9d55-1f2f3a4b5c6d"
PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def answered(status: int, content: Any = None, *, raw: bytes = b"", whole: bool = True) -> Verdict:
    return judge(Reply(status, raw if content is None else json.dumps(content).encode(), None, whole))


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_2xx_with_a_case_in_it_is_submitted(status: int) -> None:
    verdict = answered(status, {"id": CASE_ID, "reference": "AB12CD34", "lifecycle": "Open"})

    assert (verdict.meaning, verdict.case_id, verdict.case_reference) == (Meaning.SUBMITTED, CASE_ID, "AB12CD34")
    assert verdict.decides


@pytest.mark.parametrize(
    "content",
    [
        None, [], "x", 5, True, {}, {"id": None}, {"id": 5, "reference": []}, {"id": ""}, {"id": "not-a-uuid"},
        {"id": [CASE_ID]}, {"case": {"id": CASE_ID}}, {"id": CASE_ID[:-1]},
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_success_that_names_no_case_is_unusable_and_decides_nothing(status: int, content: Any) -> None:
    verdict = answered(status, content)

    assert (verdict.meaning, verdict.reason) == (Meaning.UNUSABLE, "unexpected_response")
    assert verdict.case_id is None
    assert not verdict.decides


def test_a_success_with_an_odd_reference_still_has_its_case() -> None:
    verdict = answered(200, {"id": CASE_ID, "reference": ["x"]})

    assert (verdict.meaning, verdict.case_reference) == (Meaning.SUBMITTED, None)


def test_a_web_page_that_says_200_is_unusable_and_kept_for_a_person() -> None:
    verdict = answered(200, raw=PAGE)

    assert verdict.meaning is Meaning.UNUSABLE
    assert verdict.excerpt == PAGE.decode()


def test_a_success_that_broke_off_says_so() -> None:
    verdict = answered(200, raw=b'{"id": "0b0e7c1e-', whole=False)

    assert verdict.meaning is Meaning.UNUSABLE
    assert "incomplete" in (verdict.message or "")


NOT_THE_APIS = [b"", PAGE, b"{}", b"[1]", b'{"id": 1}', b"\xff\xfe\x00garbage"]


@pytest.mark.parametrize("raw", [*NOT_THE_APIS, b'{"error": "x"}'], ids=repr)
@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (401, Meaning.UNAUTHORIZED),
        (408, Meaning.SERVER_ERROR),
        (409, Meaning.CONFLICT),
        (425, Meaning.SERVER_ERROR),
        (429, Meaning.RATE_LIMITED),
        (500, Meaning.SERVER_ERROR),
        (501, Meaning.SERVER_ERROR),
        (502, Meaning.SERVER_ERROR),
        (503, Meaning.SERVER_ERROR),
        (504, Meaning.SERVER_ERROR),
        (599, Meaning.SERVER_ERROR),
    ],
)
def test_these_statuses_decide_whatever_the_body_is(status: int, meaning: Meaning, raw: bytes) -> None:
    verdict = answered(status, raw=raw)

    assert (verdict.meaning, verdict.reason, verdict.status) == (meaning, None, status)
    assert verdict.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "validation"),
        (402, "unexpected_response"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "unexpected_response"),
        (410, "unexpected_response"),
        (413, "validation"),
        (415, "unexpected_response"),
        (418, "unexpected_response"),
        (421, "unexpected_response"),
        (422, "business_rule"),
        (451, "unexpected_response"),
    ],
)
def test_a_refusal_is_final_only_in_the_apis_own_json(status: int, reason: str) -> None:
    verdict = answered(status, raw=b'{"error": "x"}')

    assert (verdict.meaning, verdict.reason, verdict.status) == (Meaning.REFUSED, reason, status)
    for raw in NOT_THE_APIS:
        verdict = answered(status, raw=raw)
        assert (verdict.meaning, verdict.reason) == (Meaning.SERVER_ERROR, "unexpected_response")
        assert not verdict.decides


@pytest.mark.parametrize("raw", [*NOT_THE_APIS, b'{"error": "x"}'], ids=repr)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_trouble_on_the_way(status: int, raw: bytes) -> None:
    verdict = answered(status, raw=raw)

    assert (verdict.meaning, verdict.reason) == (Meaning.SERVER_ERROR, "unexpected_response")


@pytest.mark.parametrize(
    ("status", "content", "decides"),
    [
        (400, {"debtor.email": ["Invalid"]}, True),
        (422, {"businessErrors": [{"type": "NoPartnerAvailable"}]}, True),
        (422, {"businessErrors": [{"type": "DuplicateReference"}]}, True),
        (422, {"businessErrors": [{"type": "IdempotencyConflict"}]}, False),
        (401, {"error": "unauthorized"}, False),
        (403, {"error": "forbidden"}, False),
        (404, {"error": "x"}, False),
        (409, {"error": "Conflict"}, False),
        (413, {"title": "x"}, False),
        (429, {"retryAfter": 1}, False),
        (500, {"error": "x"}, False),
        (503, {"error": "x"}, False),
    ],
)
def test_only_an_answer_that_would_otherwise_have_been_a_replay_decides_about_earlier_requests(
    status: int, content: Any, decides: bool
) -> None:
    assert answered(status, content).decides is decides


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("raw", [b"", PAGE, b"[]", b'{"error": "bro'], ids=["empty", "page", "list", "half"])
def test_a_gateway_s_refusal_says_nothing_about_earlier_requests(status: int, raw: bytes) -> None:
    """nginx answers 400 with a page of its own when it dislikes a request: the API has not been asked."""
    assert not answered(status, raw=raw).decides


def test_business_errors_are_kept_whole() -> None:
    verdict = answered(
        422,
        {
            "error": "legacy", "message": "legacy text",
            "businessErrors": [
                {"type": "MissingKycVerification", "message": "Verify first", "solutionUrl": None},
                {"type": "MissingPowerOfAttorney", "message": "Sign", "solutionUrl": "https://app/solve"},
            ],
            "signingHandoff": {"combinedSigningUrl": "https://app/sign"},
        },
    )  # fmt: skip

    assert (verdict.error_type, verdict.message) == ("MissingKycVerification", "Verify first")
    assert verdict.solution_url == "https://app/solve"
    assert verdict.combined_signing_url == "https://app/sign"
    assert [e["type"] for e in verdict.detail()["businessErrors"]] == [
        "MissingKycVerification",
        "MissingPowerOfAttorney",
    ]
    assert verdict.describe() == "422 MissingKycVerification: Verify first"


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("kind", ["DuplicateReference", "IdempotencyConflict"])
def test_types_that_are_documented_as_400_or_422_are_business_rules_in_both(status: int, kind: str) -> None:
    verdict = answered(status, {"businessErrors": [{"type": kind, "message": "m"}]})

    assert (verdict.reason, verdict.error_type) == ("business_rule", kind)


def test_a_duplicate_among_several_errors_gives_the_type_because_it_may_be_our_own_case() -> None:
    verdict = answered(422, {"businessErrors": [{"type": "CreditorBlocked"}, {"type": "DuplicateReference"}]})

    assert verdict.error_type == "DuplicateReference"
    assert len(verdict.business_errors) == 2


@pytest.mark.parametrize(
    ("content", "error_type", "message", "fields"),
    [
        ({"debtor.email": ["Invalid email format", "Too long"], "tag": ["Unknown"]}, None,
         "debtor.email: Invalid email format, Too long; tag: Unknown",
         {"debtor.email": ["Invalid email format", "Too long"], "tag": ["Unknown"]}),
        ({"error": "InvalidRequest", "message": "Say so", "businessErrors": []}, "InvalidRequest", "Say so", {}),
        ({"error": "only this"}, None, "only this", {}),
        ({"type": "https://x/rfc", "title": "Bad Request", "status": 400, "detail": "No such country"},
         "https://x/rfc", "No such country", {}),
        ({"title": "One or more errors", "status": 400, "errors": {"Amount": ["must be positive"]}}, None,
         "Amount: must be positive", {"Amount": ["must be positive"]}),
        ({"businessErrors": [{"type": "CreditorBlocked", "message": None}], "message": "blocked"}, "CreditorBlocked",
         "blocked", {}),
        ({}, None, "a response that is not the API's JSON", {}),
    ],
    ids=["field lists", "legacy", "error alone", "RFC 7807", "RFC 7807 fields", "type without text", "empty object"],
)  # fmt: skip
def test_every_documented_form_of_an_error_is_read(
    content: Any, error_type: str | None, message: str | None, fields: Any
) -> None:
    verdict = answered(400, content)

    assert (verdict.error_type, verdict.message, verdict.fields) == (error_type, message, fields)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//evil", "ftp://x", 5, ["https://x"], None, ""], ids=repr
)
def test_what_is_no_web_address_is_no_link(url: Any) -> None:
    verdict = answered(
        422,
        {
            "businessErrors": [{"type": "t", "message": "m", "solutionUrl": url}],
            "signingHandoff": {"combinedSigningUrl": url},
        },
    )

    assert (verdict.solution_url, verdict.combined_signing_url) == (None, None)
    assert verdict.detail()["businessErrors"] == [{"type": "t", "message": "m", "solutionUrl": None}]


@pytest.mark.parametrize(
    "content",
    [
        {"businessErrors": {"type": "x"}}, {"businessErrors": [None, 5, "x", []]}, {"businessErrors": "x"},
        {"businessErrors": [{"type": ["x"], "message": {"a": 1}, "solutionUrl": 7}]}, {"signingHandoff": []},
        {"errors": [1, 2]}, {"errors": {"a": "not a list"}}, {"error": {"code": 1}, "message": ["x"]}, {"a": []},
        {"a": ["x", 1]}, {"retryAfter": {}},
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 409, 422, 429, 500])
def test_hostile_shapes_are_read_as_nothing(status: int, content: Any) -> None:
    verdict = answered(status, content)

    assert verdict.status == status
    assert json.dumps(verdict.detail())


def test_texts_are_capped() -> None:
    flood = {"long": ["x" * 10_000] * 30} | {f"field{i}": ["x"] for i in range(1000)}
    verdict = answered(400, flood | {"businessErrors": [{"type": "t" * 9999, "message": "m" * 9999}] * 60})

    assert len(verdict.error_type or "") == len(verdict.message or "") == 4000
    assert len(verdict.business_errors) == 50
    assert len(verdict.fields) == 200
    assert [len(text) for text in verdict.fields["long"]] == [4000] * 20
    assert len(answered(500, raw=b"x" * 100_000).excerpt or "") == 1000
