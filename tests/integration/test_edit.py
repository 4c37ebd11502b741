"""Correcting a refused case: what is kept, what goes out, and when it is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.command_line import run
from tests.support.pipeline import ACTOR, Pipeline, a_case
from tests.support.rows import change_job
from tests.support.sandbox_witness import Witness
from worker.errors import IdempotencyKeyReused, InvalidCase, JobNotFound, WrongState
from worker.intake.enqueue import admit, insert
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.writer.resolve import Actor
from worker.report.edit import Draft, Edited, correct, draft

ADA = Actor("ada", "wrong currency")


def opened(pipeline: Pipeline, job: UUID) -> Draft:
    with pipeline.engine.connect() as connection:
        return draft(connection, job)


def corrected(pipeline: Pipeline, job: UUID, case: Any, *, seen: int = 1) -> Edited:
    with transaction(pipeline.engine) as connection:
        return correct(connection, job, case, seen=seen, actor=ADA, detail={"door": "test"})


def test_a_corrected_case_goes_all_the_way(pipeline: Pipeline, sandbox: Witness) -> None:
    # Given a job whose currency the API refused
    job = pipeline.submit(key="K1", currencyCode="?", amountToRecover=10.5, creditorReference="R1")
    before = pipeline.job(job)
    form = opened(pipeline, job)
    assert form.refused is None
    assert list(form.errors) == ["currencyCode"]

    # When an operator corrects it, and the amount and reference too
    case = a_case(currencyCode="EUR", amountToRecover=Decimal("11.10"), creditorReference="R2")
    made = corrected(pipeline, job, case)
    after = pipeline.job(job)
    pipeline.run()

    # Then it goes out under a new key, as the same job, and what the report shows of it is new
    assert (made.version, [change.path for change in made.changes]) == (
        2, ["currencyCode", "amountToRecover", "creditorReference"],
    )  # fmt: skip
    assert after["submission_key"] != before["submission_key"]
    assert (after["idempotency_key"], after["round"] >= before["round"]) == ("K1", True)
    assert (after["amount"], after["currency"], after["creditor_reference"]) == (Decimal("11.1000"), "EUR", "R2")
    assert pipeline.job(job)["state"] == "submitted"
    assert sandbox.cases()[0]["creditorReference"] == "R2"
    assert pipeline.letters(job)[0]["resolution"] == "replayed"


def test_both_versions_are_kept_and_who_made_them(pipeline: Pipeline) -> None:
    job = pipeline.submit(currencyCode="?")
    original = pipeline.job(job)["case_body"]
    with pipeline.engine.connect() as connection:
        assert [v.number for v in queries.case_versions(connection, job)] == [1]

    # When it is corrected twice, since it is refused again
    corrected(pipeline, job, a_case(currencyCode="!"))
    pipeline.run()
    corrected(pipeline, job, a_case(currencyCode="DKK", comments="x"), seen=2)

    with pipeline.engine.connect() as connection:
        versions = queries.case_versions(connection, job)
    assert [(v.number, v.edited_by, v.note) for v in versions] == [
        (1, None, None), (2, "ada", "wrong currency"), (3, "ada", "wrong currency"),
    ]  # fmt: skip
    assert versions[0].case_body == original
    assert versions[0].created_at == pipeline.job(job)["created_at"]
    assert versions[2].case_body == pipeline.job(job)["case_body"]
    log = pipeline.ledger.rows("SELECT action, detail FROM audit_log WHERE job_id = %s ORDER BY id", job)
    assert [action for action, _ in log] == ["edit", "replay", "edit", "replay"]
    assert log[2][1] == {"door": "test", "version": 3, "changed": ["currencyCode", "comments"]}


def test_after_an_unknown_outcome_the_case_must_not_change(pipeline: Pipeline) -> None:
    """A case may exist under the old key: other data under it would conflict, and a new key would create a second."""
    # Given a refused job of which an earlier request may have arrived
    job = pipeline.submit(currencyCode="?")
    change_job(pipeline.ledger, job, outcome_unknown=True)

    assert "outcome is unknown" in str(opened(pipeline, job).refused)
    with pytest.raises(WrongState, match="must not be sent with other data"):
        corrected(pipeline, job, a_case())

    assert pipeline.job(job)["state"] == "dead"
    assert pipeline.ledger.value("SELECT count(*) FROM case_versions") == 0


def test_only_a_dead_job_that_other_data_can_help_may_be_corrected(pipeline: Pipeline) -> None:
    done = pipeline.submit()
    unsigned = pipeline.submit("unfinished-client")

    for job, why in ((done, "is submitted"), (unsigned, "business_rule")):
        assert opened(pipeline, job).refused
        with pytest.raises(WrongState, match=why):
            corrected(pipeline, job, a_case(comments="x"))
    with pytest.raises(JobNotFound):
        corrected(pipeline, uuid4(), a_case())


def test_a_correction_of_an_outdated_version_is_refused(pipeline: Pipeline) -> None:
    job = pipeline.submit(currencyCode="?")
    corrected(pipeline, job, a_case(currencyCode="!"))
    pipeline.run()

    with pytest.raises(WrongState, match="version 2 is the newest, you saw 1"):
        corrected(pipeline, job, a_case())


@pytest.mark.parametrize(
    "case",
    [
        "text", {}, {"debtor": "x"}, {"debtor": {"name": "\x00"}}, {"debtor": {}, "amountToRecover": float("nan")},
        {"debtor": {}, "comments": "x" * 1_100_000},
    ],
)  # fmt: skip
def test_a_correction_is_checked_like_a_new_case(pipeline: Pipeline, case: Any) -> None:
    job = pipeline.submit(currencyCode="?")

    with pytest.raises(InvalidCase):
        corrected(pipeline, job, case)
    assert pipeline.job(job)["state"] == "dead"


def test_a_case_that_is_the_same_is_not_sent_again(pipeline: Pipeline) -> None:
    job = pipeline.submit(currencyCode="?", amountToRecover=10.5)

    with pytest.raises(InvalidCase, match="is unchanged"):
        corrected(pipeline, job, a_case(currencyCode="?", amountToRecover=Decimal("10.50")))


def enqueue_again(pipeline: Pipeline, case: dict[str, Any]) -> tuple[UUID, bool]:
    with transaction(pipeline.engine) as connection:
        found = insert(connection, admit("acme", case, "K1"))
    return found.id, found.created


def test_the_sender_may_send_any_version_again(pipeline: Pipeline) -> None:
    """A redelivered message or a second click finds the same job, even after a correction."""
    job = pipeline.submit(key="K1", currencyCode="?")
    corrected(pipeline, job, a_case(currencyCode="EUR"))

    assert enqueue_again(pipeline, a_case(currencyCode="?")) == (job, False)
    assert enqueue_again(pipeline, a_case(currencyCode="EUR")) == (job, False)
    with pytest.raises(IdempotencyKeyReused):
        enqueue_again(pipeline, a_case(currencyCode="SEK"))


def test_the_command_prints_a_case_and_takes_it_back(pipeline: Pipeline, variables: dict[str, str]) -> None:
    # Given the case as the command prints it
    job = pipeline.submit(currencyCode="?", amountToRecover=10.5)
    printed = run(variables, "edit", job)
    assert printed.exit_code == 0
    assert printed.stderr.startswith("currencyCode: ")
    case = json.loads(printed.stdout)
    case["currencyCode"] = "EUR"
    text = json.dumps(case)

    # When the correction is looked at, nothing happens
    looked = run(variables, "edit", job, "--file", "-", "--dry-run", stdin=text)
    assert (looked.exit_code, looked.stdout) == (0, 'currencyCode: "?" → "EUR"\n')
    assert pipeline.job(job)["state"] == "dead"

    # When it is made
    made = run(variables, "edit", job, "--file", "-", "--note", "typo", "--as", "Åse", stdin=text)
    assert made.exit_code == 0
    assert made.stdout == f'currencyCode: "?" → "EUR"\njob {job} corrected (version 2) and replayed\n'
    pipeline.run()
    assert pipeline.job(job)["state"] == "submitted"
    log = pipeline.ledger.rows("SELECT actor, action, note FROM audit_log WHERE job_id = %s ORDER BY id", job)
    assert [action for _, action, _ in log] == ["reveal", "reveal", "edit", "replay"], "a dry run is a look too"
    assert log[2:] == [("Åse", "edit", "typo"), ("Åse", "replay", "typo")]


@pytest.mark.parametrize(
    ("text", "said"), [("{", "not valid JSON"), ("[]", "should be an object"), ('{"debtor": 1}', "case.debtor")]
)
def test_the_command_says_what_is_wrong(pipeline: Pipeline, variables: dict[str, str], text: str, said: str) -> None:
    job = pipeline.submit(currencyCode="?")

    result = run(variables, "edit", job, "--file", "-", stdin=text)

    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_command_refuses_what_the_ledger_refuses(pipeline: Pipeline, variables: dict[str, str]) -> None:
    job = pipeline.submit()
    text = json.dumps(a_case(comments="x"))

    for options in ([], ["--dry-run"]):
        result = run(variables, "edit", job, "--file", "-", *options, stdin=text)
        assert result.exit_code == 1
        assert "only the case of a dead job can be corrected" in result.stderr
    assert ACTOR.name not in result.stderr
