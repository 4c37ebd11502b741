"""Exactly once: the same key and the same bytes until the outcome is known, and never a second case."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from tests.support.pipeline import Pipeline
from tests.support.rows import change_job
from tests.support.sandbox_witness import Witness


def test_every_retry_sends_the_same_key_and_the_same_bytes(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.faults(
        {"endpoint": "cases", "kind": "status", "status": 500, "times": 1},
        {"endpoint": "cases", "kind": "conflict", "times": 1},
        {"endpoint": "cases", "kind": "reset-after", "times": 1},
    )
    job_id = pipeline.submit(amountToRecover=Decimal("1250.10"), comments="Ærø 🏦")
    for _ in range(3):
        pipeline.again()

    requests = sandbox.posts()
    assert [r["status"] for r in requests] == [500, 409, None, 200]
    assert {r["idempotencyKey"] for r in requests} == {str(pipeline.job(job_id)["submission_key"])}
    assert len({r["bodySha256"] for r in requests}) == 1
    assert len(sandbox.cases()) == 1
    assert pipeline.job(job_id)["case_id"] == sandbox.cases()[0]["id"]
    assert [a["number"] for a in pipeline.attempts(job_id)] == [1, 2, 3, 4]


def test_a_lost_answer_is_received_by_trying_again(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(tag="sandbox:drop-after-once")
    assert (pipeline.job(job_id)["state"], len(sandbox.cases())) == ("waiting", 1)

    pipeline.again()

    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["outcome_unknown"]) == ("submitted", False)
    assert len(sandbox.cases()) == 1


def test_a_case_whose_answers_are_always_lost_is_looked_up_at_the_limit(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:drop-after")
    pipeline.again()
    assert sandbox.lookups() == 0
    pipeline.again()

    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["case_id"]) == ("submitted", sandbox.cases()[0]["id"])
    assert (len(sandbox.posts()), sandbox.lookups()) == (3, 1)
    assert [a["outcome"] for a in pipeline.attempts(job_id)] == ["unknown"] * 3


def test_a_case_without_a_reference_whose_answers_are_always_lost_dies_as_unknown(
    pipeline: Pipeline, sandbox: Witness
) -> None:
    job_id = pipeline.submit(tag="sandbox:drop-after")
    pipeline.again()
    pipeline.again()

    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["detail"]["attempts"]) == ("outcome_unknown", 3)
    assert (pipeline.job(job_id)["outcome_unknown"], sandbox.lookups()) == (True, 0)


def test_a_case_that_is_not_there_at_the_limit_goes_to_a_person(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:drop-before")
    pipeline.again()
    pipeline.again()

    assert pipeline.letters(job_id)[0]["reason"] == "outcome_unknown"
    assert sandbox.lookups() == 1


def test_a_job_that_always_gets_a_503_dies_with_retries_exhausted(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(tag="sandbox:status=503")
    pipeline.again()
    pipeline.again()

    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["detail"]["status"]) == ("retries_exhausted", 503)
    assert pipeline.job(job_id)["outcome_unknown"] is True, "a gateway may say so after the API has taken it"
    assert sandbox.statuses() == [503] * 3
    pipeline.again()
    assert sandbox.statuses() == [503] * 3


def test_a_duplicate_reference_after_an_unknown_attempt_is_our_own_case(pipeline: Pipeline, sandbox: Witness) -> None:
    """The first request created the case, its answer got lost, and the API has forgotten the key since."""
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:drop-after-once")
    change_job(pipeline.ledger, job_id, submission_key=uuid4())

    pipeline.again()

    job, (_, second) = pipeline.job(job_id), pipeline.attempts(job_id)
    assert (job["state"], job["case_id"], job["outcome_unknown"]) == ("submitted", sandbox.cases()[0]["id"], False)
    assert (second["outcome"], second["error_type"], second["http_status"]) == ("refused", "DuplicateReference", 422)
    assert (len(sandbox.cases()), sandbox.lookups(), pipeline.letters(job_id)) == (1, 1, [])


def test_a_duplicate_reference_of_somebody_else_s_needs_a_person(pipeline: Pipeline, sandbox: Witness) -> None:
    pipeline.submit(creditorReference="INV-1")
    job_id = pipeline.submit(creditorReference="INV-1")

    (letter,) = pipeline.letters(job_id)
    assert (letter["reason"], letter["detail"]["type"]) == ("business_rule", "DuplicateReference")
    assert sandbox.lookups() == 0


def test_a_duplicate_that_cannot_be_found_is_unknown_and_keeps_its_key(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.faults({"endpoint": "cases", "kind": "reset-before", "times": 1})
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:business=DuplicateReference")
    key = pipeline.job(job_id)["submission_key"]
    pipeline.again()

    assert pipeline.letters(job_id)[0]["reason"] == "outcome_unknown"
    assert pipeline.job(job_id)["outcome_unknown"] is True
    pipeline.replay(job_id)
    assert pipeline.job(job_id)["submission_key"] == key


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 500}, {"kind": "reset-before"}, {"kind": "status", "status": 429}],
    ids=["500", "reset", "429"],
)
def test_a_failed_look_up_decides_nothing_about_the_job(
    pipeline: Pipeline, sandbox: Witness, fault: dict[str, object]
) -> None:
    sandbox.faults({"endpoint": "lookup", **fault})
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:empty-200")

    job = pipeline.job(job_id)
    assert (job["state"], job["outcome_unknown"]) == ("waiting", True)
    assert "look-up" in job["last_error"]
    sandbox.faults()
    pipeline.again()
    assert pipeline.job(job_id)["state"] == "submitted"
    assert len(sandbox.cases()) == 1


def test_a_replay_after_a_known_outcome_has_a_new_key(pipeline: Pipeline, sandbox: Witness) -> None:
    """The API would answer the old key with the stored refusal, although the contract is signed by now."""
    job_id = pipeline.submit("unfinished-acme", creditorReference="INV-1")
    sandbox.link("unfinished-acme", "ok")
    pipeline.replay(job_id)
    pipeline.run()

    job, (first, second) = pipeline.job(job_id), pipeline.attempts(job_id)
    assert job["state"] == "submitted"
    assert (first["trigger"], second["trigger"]) == ("initial", "replay")
    assert first["submission_key"] != second["submission_key"] == job["submission_key"]
    assert sandbox.lookups() == 0
    (letter,) = pipeline.letters(job_id)
    assert (letter["resolution"], letter["resolved_by"]) == ("replayed", "test")


def test_a_replay_after_an_unknown_outcome_first_looks_the_case_up(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.fault("lookup", "status", status=404)
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:drop-after")
    pipeline.again()
    pipeline.again()
    key, posts = pipeline.job(job_id)["submission_key"], len(sandbox.posts())
    assert pipeline.letters(job_id)[0]["reason"] == "outcome_unknown"

    sandbox.faults()
    pipeline.replay(job_id)
    assert pipeline.job(job_id)["submission_key"] == key
    pipeline.run()

    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["case_id"]) == ("submitted", sandbox.cases()[0]["id"])
    assert len(sandbox.posts()) == posts, "found, so nothing more was sent"
    assert len(pipeline.attempts(job_id)) == 3, "the attempt that sent nothing has left no row"


@pytest.mark.parametrize("reference", ["INV-1", None])
def test_a_replay_after_an_unknown_outcome_that_is_not_found_sends_the_old_key(
    pipeline: Pipeline, sandbox: Witness, reference: str | None
) -> None:
    sandbox.fault("cases", "reset-before")
    job_id = pipeline.submit(creditorReference=reference)
    pipeline.again()
    pipeline.again()
    key = pipeline.job(job_id)["submission_key"]
    sandbox.faults()
    pipeline.replay(job_id)
    pipeline.run()

    assert pipeline.job(job_id)["state"] == "submitted"
    assert {r["idempotencyKey"] for r in sandbox.posts()} == {str(key)}
    assert pipeline.attempts(job_id)[-1]["trigger"] == "replay"


def test_a_job_may_die_be_replayed_and_die_again(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(tag="sandbox:business=CreditorBlocked")
    pipeline.replay(job_id)
    pipeline.run()

    assert [letter["resolution"] for letter in pipeline.letters(job_id)] == ["replayed", None]
    assert [a["number"] for a in pipeline.attempts(job_id)] == [1, 2]
    assert pipeline.job(job_id)["attempt_count"] == 1


def test_a_gateway_s_400_after_a_lost_answer_does_not_free_the_key(pipeline: Pipeline, sandbox: Witness) -> None:
    """The case exists, and a proxy rejects the retry; another key would create a second case."""
    job_id = pipeline.submit(tag="sandbox:drop-after-once")
    key = pipeline.job(job_id)["submission_key"]
    sandbox.fault("cases", "html", status=400, times=1)
    pipeline.again()
    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["outcome_unknown"]) == ("waiting", True)

    pipeline.again()
    assert pipeline.job(job_id)["submission_key"] == key
    assert (pipeline.job(job_id)["state"], len(sandbox.cases())) == ("submitted", 1)
