"""Encrypted cases: unreadable by SQL, sent to the API byte for byte, and not lost if a key is missing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from hashlib import sha256
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery.app.task import Context
from sqlalchemy.orm import Session

from tests.support.command_line import PROGRAM, line, run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline, a_case
from tests.support.sandbox_witness import Witness
from tests.support.sealed import NEW, OLD, OPEN, SEALED, body, enqueue, everything
from tests.support.web_visitor import USERS, Visitor, report
from worker import IdempotencyKeyReused, enqueue_case
from worker.case.protection import Protection, hidden_key, key_digest
from worker.dispatch.dispatcher import Dispatcher
from worker.errors import CaseSealed
from worker.intake.enqueue import EnqueuedJob, admit
from worker.ledger.database import transaction
from worker.ledger.writer.resolve import Actor
from worker.queue.malformed_messages import DeadLetterSink
from worker.queue.tasks import accept_message
from worker.report.edit import correct, draft
from worker.settings import Settings

SECRET = "Ærøskøbing"  # of the debtor in every case here
KEYS = {"CASE_ENCRYPTION_KEYS": OLD}
KEYS_OF_ALL_KINDS = (
    ("acme", "ref:1"), ("æ🏦\\", "\\x41\\\\"), ("1:", "2"), ("1", ":2"), ("a", hidden_key("a", "k")),
    ("a", "hidden:sha256:x"), ("a", "hidden:sha256:" + "g" * 64), ("\n", "%s:x"),
)  # fmt: skip


@pytest.fixture
def sealing(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return new_pipeline(**KEYS)


def test_a_bug_whose_text_repeats_the_case_leaves_nothing_of_it_in_the_ledger(
    sealing: Pipeline, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> Any:
        raise ValueError(f"not thought of: {a_case()}")

    monkeypatch.setattr("worker.submission.send.judge", bug)
    job = enqueue(ledger, SEALED).id
    sealing.run()

    assert sealing.job(job)["last_error"] == "internal error, ValueError"
    assert SECRET not in everything(ledger)


def test_at_every_door_what_the_ledger_keeps_tells_nothing_of_the_case(
    ledger: Database, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a web app in its own transaction, a file, and a message that could not be read
    monkeypatch.setenv("CASE_ENCRYPTION_KEYS", OLD)
    with Session(ledger.engine) as session, session.begin():
        enqueue_case(external_tenant_id="acme", case=a_case(creditorReference="GEHEIM-1"), session=session)
    assert run(
        variables | KEYS, "enqueue", "-", stdin=line(a_case(creditorReference="GEHEIM-2")) + "\n"
    ).exit_code == 0  # fmt: skip
    assert DeadLetterSink(ledger.url.replace("postgresql:", "postgresql+psycopg:"), SEALED).store(
        problem="torn", sent=json.dumps({"case": a_case(creditorReference="GEHEIM-3")}, ensure_ascii=False), queue="q"
    )

    text = everything(ledger)

    assert SECRET not in text
    assert "GEHEIM" not in text
    assert ledger.rows("SELECT DISTINCT creditor_reference, amount, currency FROM jobs") == [(None, None, None)]
    assert ledger.value("SELECT count(*) FROM jobs WHERE case_body LIKE 'sealed1:%%'") == 2
    assert str(ledger.value("SELECT detail ->> 'sent' FROM dead_letters")).startswith("sealed1:")


def test_what_comes_over_the_queue_is_sealed_too_and_nothing_that_is_wrong_with_it_tells_its_reference(
    ledger: Database, variables: dict[str, str]
) -> None:
    def accept(keys: str, **case: Any) -> None:
        fields = {"external_tenant_id": "acme", "case": a_case(creditorReference="GEHEIM", **case)}
        task = SimpleNamespace(request=Context(id="id-1"))
        accept_message(Settings.from_environment(variables | {"CASE_ENCRYPTION_KEYS": keys}), task, (), fields)

    # Given a case, the same once more, another one under its key, and one that cannot be compared for want of a key
    for keys, case in ((OLD, {}), (OLD, {}), (OLD, {"comments": "x"}), (NEW, {"comments": "y"})):
        accept(keys, **case)

    # Then there is one job, two messages are kept for a person, and nobody can read the reference
    assert ledger.value("SELECT count(*) FROM jobs") == 1
    said = [str(said) for (said,) in ledger.rows("SELECT detail ->> 'message' FROM dead_letters ORDER BY id")]
    assert "which has another case" in said[0]
    assert "not in CASE_ENCRYPTION_KEYS here" in said[1]
    assert "GEHEIM" not in everything(ledger)


def test_the_api_gets_the_bytes_that_were_fixed_at_the_door(sealing: Pipeline, sandbox: Witness) -> None:
    case = a_case(creditorReference="R1", comments="🏦 1250.10")
    job = enqueue(sealing.ledger, SEALED, creditorReference="R1", comments="🏦 1250.10").id

    sealing.run()

    assert sealing.job(job)["state"] == "submitted"
    assert sandbox.posts()[0]["bodySha256"] == sha256(admit("acme", case).case_body.encode()).hexdigest()


def test_a_look_up_takes_the_reference_from_the_sealed_case(sealing: Pipeline, sandbox: Witness) -> None:
    # Given a case that arrives each time though no answer comes, and whose reference stands in no column
    job = enqueue(sealing.ledger, SEALED, creditorReference="R-HIDDEN", tag="sandbox:drop-after").id
    sealing.run()
    sealing.again()
    sealing.again()

    # Then it is looked up before it is given to anybody
    row = sealing.job(job)
    assert (row["creditor_reference"], sandbox.lookups()) == (None, 1)
    assert (row["state"], row["case_id"]) == ("submitted", sandbox.cases()[0]["id"])


@pytest.mark.parametrize("key", [None, "mine"])
def test_the_same_case_twice_is_one_job_whenever_encryption_was_switched_on(ledger: Database, key: str | None) -> None:
    for first, second in ((OPEN, SEALED), (SEALED, OPEN), (SEALED, SEALED)):
        ledger.rows("TRUNCATE jobs CASCADE")
        one = enqueue(ledger, first, key=key, creditorReference="R1")
        readable = (
            Protection.from_environment(KEYS | {"CASE_PLAINTEXT_FIELDS": "reference"}) if second is OPEN else second
        )
        again = enqueue(ledger, readable, key=key, creditorReference="R1")
        assert (again.id, again.created) == (one.id, False)
        with pytest.raises(IdempotencyKeyReused):
            enqueue(ledger, readable, key=key, creditorReference="R1", amountToRecover=1)


def test_the_database_and_the_code_agree_on_a_key_s_digest(ledger: Database) -> None:
    for tenant, key in KEYS_OF_ALL_KINDS:
        found = ledger.value("SELECT job_key(%s, %s)", tenant, key)
        assert bytes(found) == key_digest(tenant, key), (tenant, key)  # type: ignore[call-overload]


def test_a_case_whose_key_is_missing_waits_and_says_for_what(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness, variables: dict[str, str]
) -> None:
    # Given workers that were given a new key, and lost the old one
    job = enqueue(new_pipeline().ledger, SEALED).id
    pipeline = new_pipeline(CASE_ENCRYPTION_KEYS=NEW)
    for _ in range(5):
        pipeline.run()
        pipeline.wake()
    pipeline.run()

    # Then nothing was sent, nothing counted, and everybody who looks is told
    row = pipeline.job(job)
    assert (row["state"], row["attempt_count"], sandbox.posts()) == ("waiting", 0, [])
    assert "which is not in CASE_ENCRYPTION_KEYS here: put that key back" in row["last_error"]
    assert pipeline.attempts(job) == []
    doctor = run(variables | {"CASE_ENCRYPTION_KEYS": NEW}, "doctor")
    assert "1 waiting job encrypted with key" in doctor.stdout
    assert doctor.exit_code == 1

    # And with the key back, the first look of a new dispatcher sends it on its way, though it was not due for long
    fixed = new_pipeline(CASE_ENCRYPTION_KEYS=f"{NEW},{OLD}")
    Dispatcher(pipeline.settings, Nobody(), name="without the key").tick()
    assert fixed.job(job)["state"] == "waiting"
    assert Dispatcher(fixed.settings, Nobody(), name="with the key").tick() == 1
    fixed.run([job])
    assert fixed.job(job)["state"] == "submitted"
    assert (
        "no job waits for a missing one" in run(variables | {"CASE_ENCRYPTION_KEYS": f"{NEW},{OLD}"}, "doctor").stdout
    )


class Nobody:
    """A publisher that drops everything."""

    def publish(self, job_ids: Sequence[UUID]) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_body_that_was_put_into_another_job_is_not_sent(sealing: Pipeline, sandbox: Witness) -> None:
    one, other = (enqueue(sealing.ledger, SEALED, key=key).id for key in "ab")
    sealing.ledger.rows("UPDATE jobs SET case_body = %s WHERE id = %s", body(sealing.ledger, one), other)

    sealing.run()

    assert len(sandbox.posts()) == 1
    assert (sealing.job(other)["state"], sealing.job(one)["state"]) == ("waiting", "submitted")
    assert "altered" in sealing.job(other)["last_error"]


def test_whether_a_key_belongs_to_another_case_cannot_be_told_without_the_key(ledger: Database) -> None:
    enqueue(ledger, SEALED, key="k")

    with pytest.raises(CaseSealed):
        enqueue(ledger, Protection.from_environment({"CASE_ENCRYPTION_KEYS": NEW}), key="k", comments="other")


def refused(pipeline: Pipeline) -> UUID:
    job = enqueue(pipeline.ledger, SEALED, currencyCode="?", creditorReference="R1").id
    pipeline.run()
    return job


def test_a_sealed_case_is_corrected_and_both_wordings_are_sealed(sealing: Pipeline, sandbox: Witness) -> None:
    job = refused(sealing)
    with transaction(sealing.engine) as connection:
        assert draft(connection, job, SEALED).case["debtor"]["name"].startswith(SECRET)
        correct(
            connection, job, a_case(creditorReference="R2"), seen=1, actor=Actor("ada"), detail={}, protection=SEALED
        )
    sealing.run()

    assert sandbox.cases()[0]["creditorReference"] == "R2"
    assert SECRET not in everything(sealing.ledger)
    assert enqueue(sealing.ledger, SEALED, currencyCode="?", creditorReference="R1") == EnqueuedJob(job, created=False)


@pytest.fixture
def visitor(ledger: Database, variables: dict[str, str]) -> Callable[..., Visitor]:
    def make(**more: str) -> Visitor:
        made = Visitor(report(ledger, variables, REPORT_USERS=USERS, **more))
        made.sign_in("olga")
        return made

    return make


def test_the_page_opens_a_sealed_case_and_says_when_it_cannot(
    sealing: Pipeline, visitor: Callable[..., Visitor]
) -> None:
    job = refused(sealing)
    olga = visitor(**KEYS)
    assert "encrypted with its case" in olga.get(f"/jobs/{job}").text
    assert SECRET in olga.post(f"/jobs/{job}/reveal", at=f"/jobs/{job}").text
    assert 'name="case:currencyCode" value="?"' in olga.post(f"/jobs/{job}/edit", at=f"/jobs/{job}").text

    without = visitor()
    page = without.get(f"/jobs/{job}")
    assert page.status_code == 200
    assert "not in CASE_ENCRYPTION_KEYS" in page.text
    assert without.post(f"/jobs/{job}/edit", at=f"/jobs/{job}").status_code == 409


def test_the_page_opens_a_sealed_message(ledger: Database, visitor: Callable[..., Visitor]) -> None:
    url = ledger.url.replace("postgresql:", "postgresql+psycopg:")
    DeadLetterSink(url, SEALED).store(problem="torn", sent='{"x": "what was sent"}', queue="q")
    number = ledger.value("SELECT id FROM dead_letters")

    shown = visitor(**KEYS).post(f"/messages/{number}/reveal", at=f"/messages/{number}").text
    assert "what was sent&#34;" in shown
    assert "not in CASE_ENCRYPTION_KEYS" in visitor().post(f"/messages/{number}/reveal", at=f"/messages/{number}").text


@pytest.mark.parametrize("command", [("report",), ("replay", "--dry-run")])
def test_a_filter_that_cannot_see_what_is_sealed_says_so(
    ledger: Database, variables: dict[str, str], command: tuple[str, ...]
) -> None:
    said = run(variables | KEYS, *command, "--reference", "R1", "--currency", "DKK").stderr
    assert "not found by --reference and --min-amount, --max-amount or --currency" in said
    assert run(variables | KEYS | {"CASE_PLAINTEXT_FIELDS": "reference"}, *command, "--reference", "R1").stderr == ""
    assert run(variables, *command, "--reference", "R1").stderr == ""


def test_the_page_warns_at_its_start_while_nothing_is_encrypted(variables: dict[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], **variables}
    web = subprocess.Popen([PROGRAM, "web", "--port", "0"], env=environment, stdout=PIPE, stderr=PIPE, text=True)
    with web:
        assert web.stdout is not None
        assert web.stdout.readline().startswith("The report is at")
        web.terminate()
        _, said = web.communicate(timeout=20)
    assert said.count("cases_not_encrypted") == 1


def test_the_doctor_warns_while_nothing_is_encrypted(variables: dict[str, str]) -> None:
    doctor = run(variables, "doctor").stdout
    assert "warning  CASE_ENCRYPTION_KEYS: not set" in doctor
    assert OLD not in run(variables | KEYS, "doctor").stdout
    assert Settings.from_environment(variables | KEYS).encryption_keys
