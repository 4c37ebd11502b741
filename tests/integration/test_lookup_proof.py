"""A look-up proves what it finds, and a key is trusted for as long as the API remembers it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.support.command_line import run
from tests.support.pipeline import Pipeline, a_case
from tests.support.sandbox_witness import Witness
from worker.ledger.database import transaction
from worker.ledger.writer.reconcile import mark_old_keys

OLD = "now() - interval '23 hours 30 minutes'"


def foreign_case(pipeline: Pipeline, sandbox: Witness, **fields: object) -> str:
    """Another system of the client's has used the reference for a case of its own."""
    other = pipeline.submit("acme", key="other", creditorReference="INV-1", **fields)
    assert pipeline.job(other)["state"] == "submitted"
    pipeline.ledger.rows("DELETE FROM jobs WHERE id = %s", other)
    return str(sandbox.cases()[0]["reference"])


def lost_answer(pipeline: Pipeline, sandbox: Witness, kind: str = "reset-before", **case: object) -> UUID:
    """A job whose request may have arrived; `reset-before`: it did not."""
    sandbox.fault("cases", kind, times=1)
    job = pipeline.submit("acme", **case)
    sandbox.faults()
    assert pipeline.job(job)["outcome_unknown"]
    return job


def age_attempts(pipeline: Pipeline, job: UUID) -> None:
    pipeline.ledger.rows(f"UPDATE attempts SET started_at = {OLD} WHERE job_id = %s", job)


def test_a_found_case_that_agrees_is_ours(pipeline: Pipeline, sandbox: Witness) -> None:
    job = lost_answer(pipeline, sandbox, "reset-after", creditorReference="INV-1")
    age_attempts(pipeline, job)

    pipeline.again()

    assert pipeline.job(job)["state"] == "submitted"
    assert pipeline.job(job)["case_id"] == sandbox.cases()[0]["id"]
    assert len(sandbox.posts()) == 1, "it was looked up, not sent again"


def test_a_reference_that_belongs_to_another_case_is_taken(pipeline: Pipeline, sandbox: Witness) -> None:
    number = foreign_case(pipeline, sandbox, amountToRecover=99)
    job = lost_answer(pipeline, sandbox, creditorReference="INV-1")

    pipeline.again()

    assert (pipeline.job(job)["state"], pipeline.job(job)["outcome_unknown"]) == ("dead", False)
    (letter,) = pipeline.letters(job)
    assert (letter["reason"], letter["detail"]["type"]) == ("business_rule", "DuplicateReference")
    assert number in letter["detail"]["message"]
    assert "amount" in letter["detail"]["message"]


def test_a_case_that_cannot_be_told_goes_to_a_person(pipeline: Pipeline, sandbox: Witness) -> None:
    job = lost_answer(pipeline, sandbox, creditorReference="INV-1")
    body = '{"id": "0190a6a1-0000-7000-8000-000000000001", "reference": "ABCD1234", "currency": "DKK"}'
    sandbox.faults(
        {"endpoint": "lookup", "kind": "status", "status": 200, "body": body, "contentType": "application/json"},
        {"endpoint": "cases", "kind": "reset-before"},
    )
    age_attempts(pipeline, job)

    pipeline.again()

    assert pipeline.job(job)["state"] == "dead"
    (letter,) = pipeline.letters(job)
    assert letter["reason"] == "outcome_unknown"
    assert "amount not told, currency same, debtor not told, created not told" in letter["detail"]["message"]
    assert letter["detail"]["found"] == {
        "id": "0190a6a1-0000-7000-8000-000000000001",
        "reference": "ABCD1234",
        "compared": {"amount": "not told", "currency": "same", "debtor": "not told", "created": "not told"},
    }


def test_while_the_key_is_remembered_the_request_is_simply_sent_again(pipeline: Pipeline, sandbox: Witness) -> None:
    job = lost_answer(pipeline, sandbox, "reset-after", creditorReference="INV-1")

    pipeline.again()

    assert pipeline.job(job)["state"] == "submitted"
    assert (len(sandbox.posts()), sandbox.lookups(), len(sandbox.cases())) == (2, 0, 1)


def test_with_an_old_key_and_a_reference_the_case_is_looked_up_first(pipeline: Pipeline, sandbox: Witness) -> None:
    job = lost_answer(pipeline, sandbox, creditorReference="INV-1")
    age_attempts(pipeline, job)

    pipeline.again()

    assert pipeline.job(job)["state"] == "submitted"
    assert (sandbox.lookups(), len(sandbox.cases())) == (1, 1)


def test_with_an_old_key_a_look_up_that_fails_sends_nothing(pipeline: Pipeline, sandbox: Witness) -> None:
    job = lost_answer(pipeline, sandbox, creditorReference="INV-1")
    age_attempts(pipeline, job)
    sandbox.fault("lookup", "html", status=404)

    pipeline.again()

    assert pipeline.job(job)["state"] == "waiting"
    assert len(sandbox.posts()) == 1


def test_a_key_that_the_api_has_forgotten_makes_no_second_case(pipeline: Pipeline, sandbox: Witness) -> None:
    """The answer is lost, then comes a day's outage: the case is there, and the API no longer knows the key."""
    with_reference = lost_answer(pipeline, sandbox, "reset-after", creditorReference="INV-1")
    without = lost_answer(pipeline, sandbox, "reset-after", amountToRecover=77)
    assert sandbox.control("forget-keys") == {"forgotten": 2}
    for job in (with_reference, without):
        age_attempts(pipeline, job)

    pipeline.again()

    assert len(sandbox.cases()) == 2
    assert pipeline.job(with_reference)["state"] == "submitted"
    assert pipeline.letters(without)[0]["reason"] == "outcome_unknown"


def test_with_an_old_key_and_no_reference_a_person_must_look(
    pipeline: Pipeline, sandbox: Witness, variables: dict[str, str]
) -> None:
    # Given a case without a reference, whose request may have arrived a day ago
    job = lost_answer(pipeline, sandbox)
    key = pipeline.job(job)["submission_key"]
    age_attempts(pipeline, job)

    # Then it goes to a person, and nothing is sent
    pipeline.again()
    assert (pipeline.job(job)["state"], len(sandbox.posts())) == ("dead", 1)
    assert "no longer remembers" in pipeline.letters(job)[0]["detail"]["message"]
    assert "needs a person again" in run(variables, "replay", str(job), "--dry-run").output

    # And a replay without a word sends nothing either
    pipeline.replay(job)
    pipeline.run()
    assert (pipeline.job(job)["state"], len(sandbox.posts())) == ("dead", 1)

    # But one with the word of somebody who has looked sends it under a new key
    assert run(variables, "replay", str(job), "--confirmed-absent").exit_code == 2
    done = run(variables, "replay", str(job), "--confirmed-absent", "--note", "looked: not there")
    assert done.exit_code == 0
    pipeline.run()
    assert pipeline.job(job)["state"] == "submitted"
    assert pipeline.job(job)["submission_key"] != key
    noted = pipeline.ledger.value("SELECT note FROM audit_log WHERE action = 'reconcile_absent'")
    assert noted == "looked: not there"


def test_a_dead_job_whose_key_grows_old_is_previewed_as_what_it_is(
    pipeline: Pipeline, sandbox: Witness, variables: dict[str, str]
) -> None:
    job = lost_answer(pipeline, sandbox)
    pipeline.ledger.rows("UPDATE jobs SET state = 'dead', due_at = NULL, wait_reason = NULL")
    pipeline.ledger.rows(
        "INSERT INTO dead_letters (job_id, reason, invalid_client_link) VALUES (%s, 'outcome_unknown', false)", job
    )
    assert "same key 1" in run(variables, "replay", str(job), "--dry-run").output
    age_attempts(pipeline, job)

    with transaction(pipeline.engine) as connection:
        assert mark_old_keys(connection, key_trusted=82_800) == 1
        assert mark_old_keys(connection, key_trusted=82_800) == 0

    assert "needs a person again" in run(variables, "replay", str(job), "--dry-run").output


def test_the_memory_of_the_api_is_a_setting(new_pipeline: Callable[..., Pipeline], sandbox: Witness) -> None:
    pipeline = new_pipeline(DEBITURA_IDEMPOTENCY_SECONDS="172800")
    job = lost_answer(pipeline, sandbox)
    age_attempts(pipeline, job)

    pipeline.again()

    assert pipeline.job(job)["state"] == "submitted"


@pytest.mark.parametrize("kind", ["reset-before", "reset-after"])
def test_a_case_of_ours_is_known_again_in_either_shape(pipeline: Pipeline, sandbox: Witness, kind: str) -> None:
    claims = [{"amount": 1250.5, "currencyCode": "DKK", "reference": "c-1"}]
    case = a_case(creditorReference="INV-9", currencyCode=None, amountToRecover=None, claims=claims)
    job = lost_answer(pipeline, sandbox, kind, **case)
    age_attempts(pipeline, job)

    pipeline.again()

    assert pipeline.job(job)["state"] == "submitted"
    assert len(sandbox.cases()) == 1
