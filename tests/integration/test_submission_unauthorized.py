"""The 401 rule: one retry with a fresh token, and never a third request."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness


def test_after_a_401_a_fresh_token_and_the_same_request_once_more(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(tag="sandbox:401-once")

    first, second = pipeline.attempts(job_id)
    assert (first["trigger"], first["outcome"], first["http_status"]) == ("initial", "unauthorized", 401)
    assert (second["trigger"], second["outcome"], second["number"]) == ("unauthorized_retry", "submitted", 2)
    assert (first["token_source"], second["token_source"]) == ("minted", "minted")
    assert first["token_fingerprint"] != second["token_fingerprint"]
    assert first["error_message"]
    one, two = sandbox.posts()
    assert one["idempotencyKey"] == two["idempotencyKey"]
    assert one["bodySha256"] == two["bodySha256"]
    assert sandbox.mints() == 2
    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["attempt_count"]) == ("submitted", 1)


def test_a_second_401_is_dead_and_there_is_no_third_request(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit("invalid-acme")

    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["invalid_client_link"]) == ("second_unauthorized", True)
    assert (letter["detail"]["status"], pipeline.job(job_id)["state"]) == (401, "dead")
    assert [a["outcome"] for a in pipeline.attempts(job_id)] == ["unauthorized", "unauthorized"]
    assert sandbox.statuses() == [401, 401]
    pipeline.again()
    assert sandbox.statuses() == [401, 401]


def test_however_many_jobs_run_at_once_each_invalid_one_sends_two_requests(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness
) -> None:
    workers = [new_pipeline(), new_pipeline()]
    jobs = [workers[0].enqueue("invalid-acme") for _ in range(40)]
    ids = workers[0].release()

    with ThreadPoolExecutor(4) as threads:  # each half goes to two workers at once, as a doubled message would
        list(threads.map(lambda n: workers[n % 2].run(ids[20 * (n // 2) :][:20]), range(4)))

    keys = [workers[0].job(job)["submission_key"] for job in jobs]
    assert [len(sandbox.posts(key)) for key in keys] == [2] * 40
    assert {workers[0].letters(job)[0]["reason"] for job in jobs} == {"second_unauthorized"}


@pytest.mark.parametrize("jobs", [16])
def test_an_expired_token_costs_one_mint_however_many_jobs_meet_it(
    pipeline: Pipeline, sandbox: Witness, jobs: int
) -> None:
    pipeline.submit()
    sandbox.control("revoke-tokens")
    ids = [pipeline.enqueue() for _ in range(jobs)]

    pipeline.run()

    assert {pipeline.job(job)["state"] for job in ids} == {"submitted"}
    assert sandbox.mints() == 2


def test_a_tenant_without_a_link_is_dead_without_any_request_to_the_customer_api(
    pipeline: Pipeline, sandbox: Witness
) -> None:
    job_id = pipeline.submit("missing-acme")

    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["invalid_client_link"]) == ("client_link_not_found", True)
    assert letter["detail"] == {"status": 404, "message": "No active client link for this externalTenantId."}
    assert sandbox.posts() == []
    assert pipeline.attempts(job_id) == []


def test_a_link_that_ends_between_the_401_and_the_fresh_token_says_so(pipeline: Pipeline, sandbox: Witness) -> None:
    pipeline.submit()
    sandbox.link("acme", "missing")

    job_id = pipeline.submit()

    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["invalid_client_link"]) == ("client_link_not_found", True)
    assert [a["outcome"] for a in pipeline.attempts(job_id)] == ["unauthorized"]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "reset-before"}, {"kind": "html", "status": 404}],
    ids=["503", "reset", "404 of a gateway"],
)
def test_when_no_fresh_token_can_be_had_the_next_request_is_still_the_second(
    pipeline: Pipeline, sandbox: Witness, fault: dict[str, object]
) -> None:
    """No token can be minted after the first 401. Later there is one more request, and no third."""
    pipeline.submit()
    sandbox.link("acme", "invalid")
    sandbox.faults({"endpoint": "token", **fault})
    job_id = pipeline.submit()
    assert pipeline.job(job_id)["state"] == "waiting"
    assert pipeline.job(job_id)["next_trigger"] == "unauthorized_retry"

    sandbox.faults()
    pipeline.again()

    first, second = pipeline.attempts(job_id)
    assert (first["outcome"], second["trigger"], second["outcome"]) == (
        "unauthorized",
        "unauthorized_retry",
        "unauthorized",
    )
    assert first["token_fingerprint"] != second["token_fingerprint"]
    assert pipeline.letters(job_id)[0]["reason"] == "second_unauthorized"
    assert sandbox.statuses() == [200, 401, 401]


def test_the_second_request_waits_for_a_token_minted_after_the_first_one_left(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness
) -> None:
    pipeline = new_pipeline()
    pipeline.submit()
    sandbox.control("revoke-tokens")
    sandbox.fault("token", "status", status=503)
    job_id = pipeline.submit()
    sandbox.faults()
    pipeline.submit()  # somebody mints in the meantime

    pipeline.again()

    assert pipeline.job(job_id)["state"] == "submitted"
    assert sandbox.mints() == 2, "a token minted after the refused request is fresh enough"


def test_a_mint_that_fails_all_the_time_goes_to_a_person_in_the_end(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.fault("token", "status", status=500)
    job_id = pipeline.submit()
    assert pipeline.job(job_id)["attempt_count"] == 1
    pipeline.again()
    pipeline.again()

    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["detail"]["attempts"]) == ("retries_exhausted", 3)
    assert "POST /oauth/token answers 500" in letter["detail"]["message"]
    assert (sandbox.posts(), pipeline.attempts(job_id)) == ([], [])
    assert pipeline.job(job_id)["outcome_unknown"] is False


def test_a_tenant_id_that_the_mint_refuses_for_good_is_dead(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.fault("token", "status", status=400, body='{"error": "InvalidRequest", "message": "no such form"}')

    (letter,) = pipeline.letters(pipeline.submit())

    assert (letter["reason"], letter["invalid_client_link"]) == ("validation", False)
    assert letter["detail"] == {"status": 400, "message": "no such form"}
