"""`case-worker rekey` encrypts everything with the newest key, beside running workers and after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline, a_case
from tests.support.rows import change_job, change_jobs
from tests.support.sandbox_witness import Witness
from tests.support.sealed import NEW, OLD, OPEN, READABLE, SEALED, body, enqueue, everything
from worker.case.encryption import fingerprint
from worker.case.protection import Protection
from worker.ledger.database import transaction
from worker.ledger.writer.arrival import dead_letter_message
from worker.ledger.writer.resolve import Actor
from worker.privacy import rekey as rekeying
from worker.report.edit import correct

BOTH = {"CASE_ENCRYPTION_KEYS": f"{NEW} {OLD}"}
PROTECTION = Protection.from_environment(BOTH)
NEWEST, OLDER = fingerprint(bytes.fromhex(NEW)), fingerprint(bytes.fromhex(OLD))


def fill(pipeline: Pipeline) -> dict[str, UUID]:
    """A plain job, one under the old key, a corrected one with its versions, and two unreadable messages."""
    ledger = pipeline.ledger
    jobs = {"plain": enqueue(ledger, OPEN, creditorReference="GEHEIM-1").id}
    jobs["old"] = enqueue(ledger, READABLE, creditorReference="GEHEIM-2").id
    jobs["corrected"] = pipeline.submit(currencyCode="?", creditorReference="GEHEIM-3")
    with transaction(ledger.engine) as connection:
        correct(connection, jobs["corrected"], a_case(comments="x"), seen=1, actor=Actor("a"), detail={})
        dead_letter_message(connection, {"message": "torn", "sent": "GEHEIM-4"})
        dead_letter_message(connection, {"message": "torn", "sent": "GEHEIM-5"}, SEALED)
    return jobs


def opened(ledger: Database, job: UUID) -> str:
    return PROTECTION.open_case(job, body(ledger, job))


def test_a_rekey_seals_everything_with_the_newest_key(pipeline: Pipeline, variables: dict[str, str]) -> None:
    jobs = fill(pipeline)
    change_jobs(pipeline.ledger, "queued", state="pending")
    before = {name: opened(pipeline.ledger, job) for name, job in jobs.items()}

    # When it is only counted, nothing changes
    counted = run(variables | BOTH, "rekey", "--dry-run")
    assert (counted.exit_code, "4 texts not encrypted" in counted.stdout) == (0, False)
    assert "not encrypted" in counted.stdout
    assert f"encrypted with key {OLDER}" in counted.stdout
    assert body(pipeline.ledger, jobs["plain"]).startswith("{")

    # When it is done
    done = run(variables | BOTH, "rekey", "--as", "ada")

    assert done.exit_code == 0, done.stderr
    assert f"7 texts encrypted with key {NEWEST}\n" in done.stdout
    assert f"No text needs {OLDER} anymore" in done.stdout
    assert {name: opened(pipeline.ledger, job) for name, job in jobs.items()} == before
    text = everything(pipeline.ledger)
    assert "GEHEIM" not in text
    assert f"sealed1:{OLDER}" not in text
    assert pipeline.ledger.rows("SELECT actor, detail ->> 'texts' FROM audit_log WHERE action = 'rekey'") == [
        ("ada", "7")
    ]

    # And a second run finds nothing to do, and the jobs go their way
    assert f"0 texts encrypted with key {NEWEST}\n" in run(variables | BOTH, "rekey").stdout
    assert enqueue(pipeline.ledger, PROTECTION, creditorReference="GEHEIM-1").id == jobs["plain"]


def test_a_rekey_leaves_plaintext_fields_readable(ledger: Database, variables: dict[str, str]) -> None:
    enqueue(ledger, OPEN, creditorReference="R1")

    run(variables | BOTH | {"CASE_PLAINTEXT_FIELDS": "amount reference"}, "rekey")

    assert ledger.rows("SELECT idempotency_key, creditor_reference, currency FROM jobs") == [("ref:R1", "R1", "DKK")]


def test_a_rekey_leaves_locked_jobs_and_jobs_under_way_to_a_later_run(
    ledger: Database, variables: dict[str, str]
) -> None:
    queued, locked = (enqueue(ledger, OPEN, key=key).id for key in "ab")
    change_job(ledger, queued, state="queued")
    with ledger.engine.begin() as somebody:
        somebody.exec_driver_sql("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", (locked,))
        done = run(variables | BOTH, "rekey")
    assert (done.exit_code, "2 texts left unchanged" in done.stderr) == (1, True)
    assert body(ledger, queued).startswith("{")

    change_jobs(ledger, state="pending")
    assert run(variables | BOTH, "rekey").exit_code == 0
    assert body(ledger, queued).startswith(f"sealed1:{NEWEST}:")


def test_a_rekey_that_was_cut_off_goes_on_where_it_was(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rekeying, "CHUNK", 2)
    for key in "abcde":
        enqueue(ledger, OPEN, key=key)

    def cut_off(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rekeying.rekey(ledger.engine, PROTECTION, cut_off)
    assert ledger.value("SELECT count(*) FROM jobs WHERE case_body LIKE 'sealed1:%%'") == 2

    assert rekeying.rekey(ledger.engine, PROTECTION).texts == 3


def test_a_rekey_beside_running_workers_changes_no_case(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness
) -> None:
    # Given a backlog that was stored without a key, and workers that have both keys
    pipeline = new_pipeline(**BOTH)
    jobs = [enqueue(pipeline.ledger, OPEN, tenant=f"t{n % 4}", key=str(n), comments=str(n)).id for n in range(80)]
    sent = {sha256(body(pipeline.ledger, job).encode()).hexdigest() for job in jobs}

    # When everything is sealed again and again while they are at work
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(lambda: [pipeline.run(pipeline.release()[:7]) for _ in range(40)])
        while not working.done():
            rekeying.rekey(pipeline.engine, PROTECTION)
        working.result()
    while pipeline.ledger.value("SELECT count(*) FROM jobs WHERE state <> 'submitted'"):
        change_jobs(pipeline.ledger, "queued", state="pending")
        pipeline.run()

    # Then the API got each case once, to the byte, and in the end all are sealed
    posts = [post["bodySha256"] for post in sandbox.posts()]
    assert (len(posts), set(posts)) == (80, sent)
    rekeying.rekey(pipeline.engine, PROTECTION)
    assert pipeline.ledger.value("SELECT count(*) FROM jobs WHERE case_body LIKE %s", f"sealed1:{NEWEST}:%") == 80


def test_a_text_whose_key_is_missing_is_counted_and_left(ledger: Database, variables: dict[str, str]) -> None:
    job = enqueue(ledger, SEALED).id
    before = body(ledger, job)

    done = run(variables | {"CASE_ENCRYPTION_KEYS": NEW}, "rekey")

    assert done.exit_code == 1
    assert f"1 text encrypted with key {OLDER}, which is not in CASE_ENCRYPTION_KEYS" in done.stdout
    assert body(ledger, job) == before


def test_a_rekey_without_keys_is_refused(variables: dict[str, str]) -> None:
    refused = run(variables, "rekey")
    assert (refused.exit_code, "CASE_ENCRYPTION_KEYS is not set" in refused.stderr) == (2, True)


def test_a_made_key_can_be_used(ledger: Database, variables: dict[str, str]) -> None:
    key = run(variables, "make-key").stdout.strip()
    protection = Protection.from_environment({"CASE_ENCRYPTION_KEYS": key})
    job = enqueue(ledger, protection, key=str(uuid4())).id
    assert body(ledger, job).startswith("sealed1:")
