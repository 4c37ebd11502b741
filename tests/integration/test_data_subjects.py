"""Export and erase all data of one tenant or reference and no other; jobs under way are left alone."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline, a_case
from tests.support.sealed import NEW, OLD, OPEN, SEALED, enqueue, everything
from worker.intake.enqueue import EnqueuedJob
from worker.ledger.database import transaction
from worker.ledger.writer.arrival import dead_letter_message
from worker.ledger.writer.resolve import Actor
from worker.privacy import subject as subjects
from worker.report.edit import correct

KEYS = {"CASE_ENCRYPTION_KEYS": OLD}
NOTE = ("--note", "request 12")


@pytest.fixture
def sealing(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return new_pipeline(**KEYS)


def exported(variables: dict[str, str], path: Path, *options: str) -> dict[str, Any]:
    result = run(variables, "export", "--output", path, *options)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def ids(found: dict[str, Any]) -> set[str]:
    return {job["job"]["id"] for job in found["jobs"]}


def test_an_export_has_everything_of_a_job(sealing: Pipeline, variables: dict[str, str], tmp_path: Path) -> None:
    # Given a job that was refused, corrected to another reference, and submitted, sealed all the way
    job = enqueue(sealing.ledger, SEALED, currencyCode="?", creditorReference="R1").id
    sealing.run()
    with transaction(sealing.engine) as connection:
        case = a_case(creditorReference="R2")
        correct(connection, job, case, seen=1, actor=Actor("ada"), detail={}, protection=SEALED)
    sealing.run()
    enqueue(sealing.ledger, SEALED, tenant="other", creditorReference="R1")

    # When somebody asks for what is known under the first reference, which only its old wording has
    found = exported(variables | KEYS, tmp_path / "out.json", "--tenant", "acme", "--reference", "R1")

    # Then all of it is there, readable, and nobody else's
    (one,) = found["jobs"]
    assert (one["job"]["id"], one["job"]["state"]) == (str(job), "submitted")
    assert json.loads(one["job"]["case"])["creditorReference"] == "R2"
    assert [json.loads(v["case"])["creditorReference"] for v in one["case_versions"]] == ["R1", "R2"]
    assert [attempt["outcome"] for attempt in one["attempts"]] == ["refused", "submitted"]
    assert one["dead_letters"][0]["reason"] == "validation"
    assert [entry["action"] for entry in one["audit"]] == ["edit", "replay"]
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o600
    entry = sealing.ledger.rows("SELECT detail ->> 'tenant', detail::text FROM audit_log WHERE action = 'export'")
    assert (entry[0][0], "R1" in str(entry[0][1])) == ("acme", False)


def test_a_tenant_s_export_takes_sealed_and_plain_jobs_page_by_page(
    ledger: Database, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.queries.subjects.PAGE", 2)
    made = {str(enqueue(ledger, p, key=str(n)).id) for n in range(4) for p in ((SEALED,) if n % 2 else (OPEN,))}
    enqueue(ledger, SEALED, tenant="acme-2")

    assert ids(exported(variables | KEYS, tmp_path / "a.json", "--tenant", "acme")) == made
    assert ids(exported(variables | KEYS, tmp_path / "b.json", "--tenant", "nobody")) == set()


def test_a_case_that_cannot_be_opened_is_said_to_be_missing(
    ledger: Database, variables: dict[str, str], tmp_path: Path
) -> None:
    enqueue(ledger, SEALED, creditorReference="R1")
    wrong = variables | {"CASE_ENCRYPTION_KEYS": NEW}

    whole = run(wrong, "export", "--tenant", "acme", "--output", tmp_path / "a.json")
    by_reference = run(wrong, "export", "--tenant", "acme", "--reference", "R9", "--output", tmp_path / "b.json")
    erased = run(wrong, "erase", "--tenant", "acme", "--reference", "R9", *NOTE)

    for result in (whole, by_reference, erased):
        assert result.exit_code == 1
    assert "cannot be decrypted and are not included" in whole.stderr
    (job,) = json.loads((tmp_path / "a.json").read_text())["jobs"]
    assert (job["job"]["case"], "not in CASE_ENCRYPTION_KEYS" in job["job"]["case_missing"]) == (None, True)
    assert json.loads((tmp_path / "b.json").read_text())["jobs"] == []
    assert "not erased" in erased.stderr


@pytest.mark.parametrize("keys", [KEYS, {}], ids=["sealed", "plain"])
def test_erasing_takes_done_and_dead_jobs_and_leaves_those_under_way(
    new_pipeline: Callable[..., Pipeline], variables: dict[str, str], keys: dict[str, str]
) -> None:
    pipeline, protection = new_pipeline(**keys), SEALED if keys else OPEN

    def made(**case: Any) -> UUID:
        return enqueue(pipeline.ledger, protection, **{"creditorReference": "GEHEIM", **case}).id

    done, dead = made(key="a"), made(key="b", currencyCode="?")
    other, others = made(key="c", creditorReference="R2"), made(key="a", tenant="other")
    pipeline.run()
    waiting = made(key="d")

    # When it is only looked at
    looked = run(variables | keys, "erase", "--tenant", "acme", "--reference", "GEHEIM", "--dry-run", *NOTE)
    assert "2 jobs (1 of them dead), 0 messages would be erased" in looked.stdout
    assert pipeline.job(done)["purged_at"] is None

    # When it is done
    result = run(variables | keys, "erase", "--tenant", "acme", "--reference", "GEHEIM", "--as", "ada", *NOTE)

    # Then the done and the dead one are empty, and the one that may still be submitted is listed
    assert (result.exit_code, "2 jobs and 0 messages erased" in result.stdout) == (1, True)
    assert f"job {waiting} is pending and may still be submitted" in result.stderr
    rows = {job: pipeline.job(job) for job in (done, dead, other, others, waiting)}
    assert [rows[job]["purged_at"] is not None for job in rows] == [True, True, False, False, False]
    assert (rows[done]["state"], rows[dead]["state"]) == ("submitted", "discarded")
    entries = pipeline.ledger.rows(
        "SELECT action, job_id, actor, note FROM audit_log WHERE action IN ('erase', 'discard') ORDER BY id"
    )
    assert {entry[:2] for entry in entries} == {("discard", dead), ("erase", done), ("erase", dead), ("erase", None)}
    assert {entry[2:] for entry in entries} == {("ada", "request 12")}

    # And once that one is done, the second run erases it, and a third finds nothing left
    pipeline.run()
    second = run(variables | keys, "erase", "--tenant", "acme", "--reference", "GEHEIM", *NOTE)
    assert (second.exit_code, second.stdout) == (0, "1 job and 0 messages erased; 0 erased before\n")
    pipeline.ledger.rows("DELETE FROM jobs WHERE id IN (%s, %s)", other, others)
    assert "GEHEIM" not in everything(pipeline.ledger)


def test_the_same_case_enqueued_after_its_erasure_is_not_submitted_again(
    sealing: Pipeline, variables: dict[str, str]
) -> None:
    job = enqueue(sealing.ledger, OPEN, creditorReference="R1").id
    sealing.run()
    assert run(variables, "erase", "--tenant", "acme", *NOTE).exit_code == 0

    assert enqueue(sealing.ledger, SEALED, creditorReference="R1") == EnqueuedJob(job, created=False)
    assert enqueue(sealing.ledger, OPEN, creditorReference="R1") == EnqueuedJob(job, created=False)
    # What is left of it is still found by the reference, and known to be erased
    again = run(variables, "erase", "--tenant", "acme", "--reference", "R1", *NOTE)
    assert "0 jobs and 0 messages erased; 1 erased before" in again.stdout


def test_unreadable_messages_that_name_the_tenant_are_exported_and_erased(
    ledger: Database, variables: dict[str, str], tmp_path: Path
) -> None:
    def send(tenant: str, reference: str) -> None:
        sent = {"args": [], "kwargs": {"external_tenant_id": tenant, "case": {"creditorReference": reference}}}
        with transaction(ledger.engine) as connection:
            dead_letter_message(connection, {"message": "torn", "sent": json.dumps(sent)}, SEALED)

    send("acme", "R1")
    send("acme", "R2")
    send("other", "R1")
    with transaction(ledger.engine) as connection:
        dead_letter_message(connection, {"message": "torn", "sent": "acme R1 {"}, SEALED)
    options = ("--tenant", "acme", "--reference", "R1")

    found = exported(variables | KEYS, tmp_path / "out.json", *options)
    assert [json.loads(m["sent"])["kwargs"]["case"] for m in found["unreadable_messages"]] == [
        {"creditorReference": "R1"}
    ]
    assert run(variables | KEYS, "erase", *options, *NOTE).stdout == ("0 jobs and 1 message erased; 0 erased before\n")
    rows = ledger.rows("SELECT resolution, detail ? 'sent' FROM dead_letters ORDER BY id")
    assert rows == [("discarded", False), (None, True), (None, True), (None, True)]


def test_a_job_that_somebody_moves_meanwhile_is_said_to_be_left(
    pipeline: Pipeline, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = pipeline.submit(currencyCode="?")
    matching = subjects.matching_messages

    def replayed_meanwhile(*arguments: Any) -> Any:
        pipeline.replay(dead)
        return matching(*arguments)

    monkeypatch.setattr("worker.privacy.erase.matching_messages", replayed_meanwhile)
    result = run(variables, "erase", "--tenant", "acme", *NOTE)

    assert (result.exit_code, f"job {dead} was just changed by another process" in result.stderr) == (1, True)
    assert pipeline.job(dead)["state"] == "pending"


def test_an_erasure_needs_a_reason_and_a_tenant(variables: dict[str, str]) -> None:
    assert run(variables, "erase", "--tenant", "acme").exit_code == 2
    assert run(variables, "erase", *NOTE).exit_code == 2
    assert run(variables, "export", "--tenant", "acme").exit_code == 2
