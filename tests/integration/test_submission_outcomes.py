"""Every kind of API answer, end to end, and what the ledger stores for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness

PYONGYANG = {"type": "Private", "name": "x", "countryAlpha2": "KP"}


def test_a_valid_case_is_submitted_with_one_request(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(creditorReference="INV-1")

    job, (attempt,) = pipeline.job(job_id), pipeline.attempts(job_id)
    (case,), (request,) = sandbox.cases(), sandbox.posts()
    assert (job["state"], job["case_id"], job["case_reference"]) == ("submitted", case["id"], case["reference"])
    assert job["finalized_at"] is not None
    assert (job["attempt_count"], job["outcome_unknown"], job["lease_token"]) == (1, False, None)
    assert (attempt["number"], attempt["trigger"], attempt["outcome"], attempt["http_status"]) == (
        1, "initial", "submitted", 200,
    )  # fmt: skip
    assert attempt["token_source"] == "minted"
    assert len(attempt["token_fingerprint"]) == 16
    assert attempt["finished_at"] >= attempt["started_at"]
    assert attempt["duration_ms"] >= 0
    assert UUID(request["idempotencyKey"]) == job["submission_key"] == attempt["submission_key"]
    assert request["headers"]["accept"] == "application/json"
    assert request["headers"]["userAgent"].startswith("case-worker/")


def test_the_next_case_of_the_tenant_uses_the_same_token(pipeline: Pipeline, sandbox: Witness) -> None:
    first, second = pipeline.submit(), pipeline.submit()

    one, two = pipeline.attempts(first)[0], pipeline.attempts(second)[0]
    assert (one["token_source"], two["token_source"]) == ("minted", "cached")
    assert one["token_fingerprint"] == two["token_fingerprint"]
    assert sandbox.mints() == 1


@pytest.mark.parametrize("tag", ["sandbox:status=201", "sandbox:status=202", "sandbox:slow=50"])
def test_any_success_that_names_the_case_is_submitted(pipeline: Pipeline, sandbox: Witness, tag: str) -> None:
    job = pipeline.job(pipeline.submit(tag=tag))

    assert (job["state"], job["case_id"]) == ("submitted", sandbox.cases()[0]["id"])


@pytest.mark.parametrize(
    ("fields", "reason", "status", "error_type"),
    [
        ({"tag": "sandbox:status=400"}, "validation", 400, None),
        ({"tag": "sandbox:problem"}, "validation", 400, "https://tools.ietf.org/html/rfc9110"),
        ({"tag": "sandbox:legacy-error"}, "validation", 400, "InvalidRequest"),
        ({"currencyCode": "kroner"}, "validation", 400, None),
        ({"tag": "sandbox:status=403"}, "forbidden", 403, "Forbidden"),
        ({"tag": "sandbox:status=404"}, "not_found", 404, "NotFound"),
        ({"tag": "sandbox:status=413"}, "validation", 413, "https://tools.ietf.org/html/rfc9110"),
        ({"tag": "sandbox:status=415"}, "unexpected_response", 415, "https://tools.ietf.org/html/rfc9110"),
        ({"tag": "sandbox:status=418"}, "unexpected_response", 418, "https://tools.ietf.org/html/rfc9110"),
        ({"tag": "sandbox:business=MissingKycVerification"}, "business_rule", 422, "MissingKycVerification"),
        ({"tag": "sandbox:business=NeverHeardOf"}, "business_rule", 422, "NeverHeardOf"),
        ({"debtor": PYONGYANG}, "business_rule", 422, "NoPartnerAvailable"),
    ],
    ids=lambda value: str(value.get("tag", "fields")) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_final_answer_is_dead_at_once_and_needs_a_person(
    pipeline: Pipeline, sandbox: Witness, fields: dict[str, Any], reason: str, status: int, error_type: str | None
) -> None:
    job_id = pipeline.submit(**fields)

    job, (letter,), (attempt,) = pipeline.job(job_id), pipeline.letters(job_id), pipeline.attempts(job_id)
    assert (job["state"], letter["reason"], letter["invalid_client_link"]) == ("dead", reason, False)
    assert letter["detail"]["status"] == attempt["http_status"] == status
    assert letter["detail"].get("type") == attempt["error_type"] == error_type
    assert letter["detail"]["message"] == attempt["error_message"]
    assert (attempt["outcome"], letter["resolved_at"], job["finalized_at"]) == ("refused", None, None)
    assert job["last_error"].startswith(str(status))
    assert job["outcome_unknown"] is False
    assert sandbox.statuses() == [status]
    assert sandbox.cases() == []


def test_field_errors_are_kept_field_by_field(pipeline: Pipeline) -> None:
    job_id = pipeline.submit(currencyCode="kroner", debtor={"type": "Company", "name": "x", "email": "no"})

    detail = pipeline.letters(job_id)[0]["detail"]
    assert set(detail["fields"]) == {"currencyCode", "debtor.countryAlpha2", "debtor.email"}
    assert "debtor.email: Invalid email format" in detail["message"]


def test_a_business_error_keeps_where_it_is_solved_and_signed(pipeline: Pipeline) -> None:
    job_id = pipeline.submit("unfinished-acme", returnUrl="https://partner.example/back")

    (letter,) = pipeline.letters(job_id)
    (error,) = letter["detail"]["businessErrors"]
    assert error["type"] == letter["detail"]["type"] == "MissingDebtCollectionContract"
    assert error["message"] == letter["detail"]["message"]
    assert letter["solution_url"] == error["solutionUrl"]
    assert error["solutionUrl"].startswith("https://app.sandbox.example/solve/contract")
    assert letter["detail"]["combinedSigningUrl"].startswith("https://app.sandbox.example/sign/all")


@pytest.mark.parametrize(
    ("tag", "outcome", "status", "unknown"),
    [
        ("sandbox:500-once", "server_error", 500, True),
        ("sandbox:502-once", "server_error", 502, True),
        ("sandbox:503-once", "server_error", 503, True),
        ("sandbox:408-once", "server_error", 408, True),
    ],
)
def test_a_fault_of_the_api_is_retried_after_a_backoff(
    pipeline: Pipeline, sandbox: Witness, tag: str, outcome: str, status: int, unknown: bool
) -> None:
    job_id = pipeline.submit(tag=tag)

    job = pipeline.job(job_id)
    assert (job["state"], job["attempt_count"], job["outcome_unknown"]) == ("waiting", 1, unknown)
    assert (job["due_at"] - pipeline.attempts(job_id)[0]["finished_at"]).total_seconds() <= 2
    pipeline.again()
    first, second = pipeline.attempts(job_id)
    assert (first["outcome"], first["http_status"]) == (outcome, status)
    assert (second["trigger"], second["outcome"]) == ("retry", "submitted")
    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["outcome_unknown"]) == ("submitted", False)
    assert len(sandbox.cases()) == 1


def test_a_conflict_is_tried_again_soon_and_is_no_attempt(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(tag="sandbox:409-once")

    job = pipeline.job(job_id)
    assert (job["state"], job["attempt_count"]) == ("waiting", 0)
    assert 0.9 <= (job["due_at"] - pipeline.attempts(job_id)[0]["finished_at"]).total_seconds() <= 3.1
    pipeline.again()
    assert [a["outcome"] for a in pipeline.attempts(job_id)] == ["conflict", "submitted"]


@pytest.mark.parametrize("tag", ["sandbox:empty-200", "sandbox:wrong-types", "sandbox:truncated", "sandbox:huge"])
def test_a_success_that_does_not_say_which_case_is_looked_up(pipeline: Pipeline, sandbox: Witness, tag: str) -> None:
    job_id = pipeline.submit(creditorReference="INV 1/æ", tag=tag)

    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["case_id"]) == ("submitted", sandbox.cases()[0]["id"])
    assert (len(sandbox.posts()), sandbox.lookups()) == (1, 1)
    assert pipeline.attempts(job_id)[0]["outcome"] == "unusable"


def test_a_web_page_that_says_200_creates_nothing_and_is_tried_again(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:html-200")

    job = pipeline.job(job_id)
    assert (job["state"], job["outcome_unknown"], sandbox.lookups()) == ("waiting", True, 1)
    pipeline.again()
    pipeline.again()
    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["detail"]["attempts"]) == ("unexpected_response", 3)
    assert "<html>" in letter["detail"]["excerpt"]


@pytest.mark.parametrize(
    ("tag", "outcome"), [("sandbox:drop-before", "unknown"), ("sandbox:drop-after-once", "unknown")]
)
def test_a_connection_that_breaks_leaves_the_outcome_unknown(
    pipeline: Pipeline, sandbox: Witness, tag: str, outcome: str
) -> None:
    job_id = pipeline.submit(tag=tag)

    job, (attempt,) = pipeline.job(job_id), pipeline.attempts(job_id)
    assert (job["state"], job["outcome_unknown"], job["attempt_count"]) == ("waiting", True, 1)
    assert (attempt["outcome"], attempt["http_status"]) == (outcome, None)
    assert attempt["error_message"] == job["last_error"] == "the connection broke before the response"


def test_what_the_api_repeats_of_a_case_is_not_written_down(pipeline: Pipeline) -> None:
    born = "Anna Andersson born 1970"
    job_id = pipeline.submit(date=born)

    job, (letter,), (attempt,) = pipeline.job(job_id), pipeline.letters(job_id), pipeline.attempts(job_id)
    assert letter["reason"] == "validation"
    for kept in (job["last_error"], repr(letter["detail"]), attempt["error_message"]):
        assert "‹date›" in kept
        assert born not in kept


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html", "status": 403},
        {"kind": "html", "status": 404},
        {"kind": "status", "status": 302, "body": ""},
        {"kind": "status", "status": 451, "body": ""},
        {"kind": "status", "status": 421, "body": "{}", "contentType": "application/json"},
    ],
    ids=["firewall", "lost route", "redirect", "empty", "other JSON"],
)
def test_what_is_not_the_apis_is_tried_again_and_goes_to_a_person_at_the_limit(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness, fault: dict[str, Any]
) -> None:
    """One job that a firewall refuses for its content; nobody else waits for it."""
    pipeline = new_pipeline(WORKER_MAX_ATTEMPTS="3")
    job_id = pipeline.enqueue("refused")
    key = pipeline.job(job_id)["submission_key"]
    sandbox.fault("cases", tenant="refused", **fault)

    for _ in range(3):
        pipeline.again()

    assert pipeline.job(job_id)["state"] == "dead"
    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["detail"]["status"]) == ("unexpected_response", fault["status"])
    assert {attempt["submission_key"] for attempt in pipeline.attempts(job_id)} == {key}
    other = pipeline.submit("other")
    assert pipeline.job(other)["state"] == "submitted"
    assert pipeline.holds() == {}
