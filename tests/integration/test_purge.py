"""Purging removes cases and keeps what is needed to never submit the same case again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from psycopg.errors import CheckViolation
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tests.support.at_once import at_once
from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline, a_case
from tests.support.rows import DAY, age, ago, change_jobs
from tests.support.sealed import OPEN, READABLE, SEALED, enqueue, everything
from tests.support.web_visitor import USERS, Visitor, report
from worker.case.protection import hidden_key
from worker.intake.enqueue import EnqueuedJob, admit, insert
from worker.ledger.database import transaction
from worker.ledger.writer.arrival import dead_letter_message
from worker.ledger.writer.purge import purge_due
from worker.ledger.writer.resolve import Actor
from worker.privacy.erase import purge as purge_all
from worker.report.edit import correct

SECRET = "Ærøskøbing"


def purge(ledger: Database, *, days: float = 90, chunk: int = 200) -> int:
    with transaction(ledger.engine) as connection:
        return purge_due(connection, age=days * DAY, chunk=chunk).jobs


@pytest.fixture
def done(pipeline: Pipeline) -> UUID:
    """A job that was refused for its data, corrected, and submitted 100 days ago."""
    job = pipeline.submit(currencyCode="?", creditorReference="GEHEIM-1")
    with transaction(pipeline.engine) as connection:
        case = a_case(creditorReference="GEHEIM-1")
        correct(connection, job, case, seen=1, actor=Actor("ada", "typo"), detail={})
    pipeline.run()
    pipeline.ledger.rows("UPDATE attempts SET error_message = %s WHERE outcome = 'refused'", f"{SECRET}: no")
    pipeline.ledger.rows(
        "UPDATE dead_letters SET detail = detail || %s",
        '{"type": "ValidationError", "message": "Ærøskøbing", "x": "y"}',
    )
    age(pipeline.ledger, job)
    return job


def test_a_purge_removes_the_case_and_keeps_what_is_not_personal(pipeline: Pipeline, done: UUID) -> None:
    before = pipeline.job(done)

    assert purge(pipeline.ledger) == 1

    after = pipeline.job(done)
    kept = ("state", "external_tenant_id", "amount", "currency", "case_id", "case_reference", "created_at",
            "finalized_at", "attempt_count", "request_count")  # fmt: skip
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (after["case_body"], after["creditor_reference"], after["last_error"]) == ("{}", None, None)
    assert after["idempotency_key"] == hidden_key("acme", before["idempotency_key"])
    assert [(a["number"], a["outcome"]) for a in pipeline.attempts(done)] == [(1, "refused"), (2, "submitted")]
    assert pipeline.letters(done)[0]["detail"] == {"purged": True, "status": 400, "type": "ValidationError"}
    text = everything(pipeline.ledger)
    assert SECRET not in text
    assert "GEHEIM" not in text


def test_a_purged_case_that_is_enqueued_again_is_the_same_job_and_is_not_submitted(pipeline: Pipeline) -> None:
    for protection in (OPEN, SEALED):
        made = enqueue(pipeline.ledger, protection, tenant=f"t{protection.hides_amount}", creditorReference="R1")
        change_jobs(pipeline.ledger, state="submitted", finalized_at=ago("100 days"))
        assert purge(pipeline.ledger) == 1
        for later in (OPEN, SEALED):
            again = enqueue(pipeline.ledger, later, tenant=f"t{protection.hides_amount}", creditorReference="R1")
            assert again == EnqueuedJob(made.id, created=False)
    assert pipeline.ledger.value("SELECT count(*) FROM jobs") == 2
    assert pipeline.run() == 0


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_case_that_is_enqueued_again_during_its_purge_is_still_one_job(
    ledger: Database, pipeline: Pipeline, isolation: str
) -> None:
    """While the key is replaced by its digest, a search must find one of the two."""
    job = pipeline.submit(key="k")
    age(ledger, job)
    arriving = Session(ledger.engine.execution_options(isolation_level=isolation))
    with arriving as session, ThreadPoolExecutor(1) as threads, ledger.engine.connect() as purging:
        session.connection()
        began = purging.begin()
        assert purge_due(purging, age=DAY, chunk=10).jobs == 1
        waiting = threads.submit(lambda: insert(session.connection(), admit("acme", a_case(), "k")))
        while not ledger.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert not waiting.done()
        began.commit()
        if isolation == "READ COMMITTED":
            assert waiting.result(10) == EnqueuedJob(job, created=False)
        else:  # as after any update under its feet, the caller has to start again
            with pytest.raises(OperationalError, match="could not serialize"):
                waiting.result(10)
    assert ledger.value("SELECT count(*) FROM jobs") == 1


def test_many_enqueues_at_once_under_different_protection_make_one_job(ledger: Database) -> None:
    def arrive(n: int) -> EnqueuedJob:
        return enqueue(ledger, SEALED if n % 2 else READABLE, creditorReference="INV-1")

    for _ in range(5):
        ledger.rows("TRUNCATE jobs CASCADE")
        jobs = at_once(8, arrive)
        assert len({job.id for job in jobs}) == 1
        assert [job.created for job in jobs].count(True) == 1


def test_only_jobs_that_are_final_for_long_enough_are_purged(pipeline: Pipeline) -> None:
    fresh, old = pipeline.submit(), pipeline.submit()
    dead, waiting = pipeline.submit(currencyCode="?"), pipeline.enqueue()
    age(pipeline.ledger, old)
    change_jobs(pipeline.ledger, created_at=ago("1 year"))

    assert purge(pipeline.ledger) == 1

    assert [pipeline.job(job)["purged_at"] is None for job in (fresh, old, dead, waiting)] == [True, False, True, True]
    assert purge(pipeline.ledger) == 0


def test_discarded_messages_are_purged_and_open_ones_are_kept(ledger: Database, variables: dict[str, str]) -> None:
    with transaction(ledger.engine) as connection:
        for sent in ("GEHEIM-1", "still open"):
            dead_letter_message(connection, {"message": "torn", "sent": sent})
    ledger.rows(
        "UPDATE dead_letters SET resolution = 'discarded', resolved_by = 'a', resolved_at = now() - interval '1 year'"
        " WHERE detail ->> 'sent' = 'GEHEIM-1'"
    )

    result = run(variables, "purge", "--older-than", "90d")

    assert result.stdout == "0 jobs and 1 unreadable message purged\n"
    assert ledger.rows("SELECT detail ->> 'sent' FROM dead_letters ORDER BY id") == [(None,), ("still open",)]


def test_the_purge_command_has_a_dry_run_and_is_audited_once(
    pipeline: Pipeline, done: UUID, variables: dict[str, str]
) -> None:
    looked = run(variables, "purge", "--older-than", "90d", "--dry-run")
    assert (looked.exit_code, looked.stdout) == (0, "1 job would be purged\n")
    assert pipeline.job(done)["purged_at"] is None

    result = run(variables, "purge", "--older-than", "90d", "--as", "ada", "--note", "policy 7")

    assert (result.exit_code, result.stdout) == (0, "1 job purged\n")
    log = pipeline.ledger.rows("SELECT actor, note, detail ->> 'jobs' FROM audit_log WHERE action = 'purge'")
    assert log == [("ada", "policy 7", "1")]
    assert run(variables, "purge").exit_code == 2


def test_a_purge_that_is_cut_off_is_audited_for_what_it_has_done(pipeline: Pipeline, done: UUID) -> None:
    def cut_off(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge_all(pipeline.engine, age=DAY, actor=Actor("ada"), door={}, tell=cut_off)

    log = pipeline.ledger.rows("SELECT detail ->> 'jobs', detail ->> 'finished' FROM audit_log WHERE action = 'purge'")
    assert log == [("1", "false")]


def test_every_view_copes_with_a_purged_job_and_says_so(
    pipeline: Pipeline, done: UUID, variables: dict[str, str]
) -> None:
    purge(pipeline.ledger)
    shown = run(variables, "show", done)
    assert shown.exit_code == 0
    assert "Its case was removed" in shown.stdout
    assert "removed with its case" in shown.stdout
    assert run(variables, "show", done, "--json").exit_code == 0
    replayed = run(variables, "replay", done)
    assert (replayed.exit_code, "it is submitted" in replayed.stderr) == (1, True)
    printed = run(variables, "edit", done)
    assert (printed.exit_code, "was removed" in printed.stderr) == (1, True)
    edited = run(variables, "edit", done, "--file", "-", stdin='{"debtor": {}}')
    assert (edited.exit_code, "only the case of a dead job can be corrected" in edited.stderr) == (1, True)

    olga = Visitor(report(pipeline.ledger, variables, REPORT_USERS=USERS))
    olga.sign_in("olga")
    page = olga.get(f"/jobs/{done}")
    assert page.status_code == 200
    assert "The case was removed" in page.text
    assert "Reveal personal data" not in page.text
    assert olga.post(f"/jobs/{done}/edit", at="/").status_code == 409


def test_a_purge_waits_for_nobody_and_goes_in_steps(pipeline: Pipeline) -> None:
    jobs = [pipeline.submit() for _ in range(5)]
    age(pipeline.ledger, *jobs)
    with pipeline.engine.begin() as somebody:
        somebody.exec_driver_sql("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", (jobs[0],))
        assert [purge(pipeline.ledger, chunk=2) for _ in range(3)] == [2, 2, 0]
    assert purge(pipeline.ledger) == 1


def test_a_purge_reads_only_final_rows(ledger: Database) -> None:
    ledger.rows(
        "INSERT INTO jobs (id, external_tenant_id, idempotency_key, case_body, submission_key, state, finalized_at,"
        " case_id, purged_at) SELECT gen_random_uuid(), 't', n, '{}', gen_random_uuid(), 'submitted',"
        " now() - interval '1 year', 'c', CASE WHEN n > 20 THEN now() END FROM generate_series(1, 5000) n"
    )
    ledger.rows("ANALYZE jobs")
    plan = str(ledger.rows(
        "EXPLAIN SELECT id FROM jobs WHERE finalized_at IS NOT NULL AND purged_at IS NULL"
        " AND finalized_at < now() - interval '90 days' ORDER BY finalized_at LIMIT 200"
    ))  # fmt: skip
    assert "ix_jobs_unpurged" in plan


def test_the_database_refuses_to_empty_a_job_that_may_still_be_sent(pipeline: Pipeline) -> None:
    dead = pipeline.submit(currencyCode="?")
    with pytest.raises(CheckViolation, match="ck_jobs_purged_when_final"):
        pipeline.ledger.rows("UPDATE jobs SET purged_at = now(), case_body = '{}' WHERE id = %s", dead)
