"""After a restore from a backup each job still gets exactly one case."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from local_servers import POSTGRES, LocalPostgres
from processes import Child
from processes import program as path_of

from tests.support.command_line import line, run
from tests.support.databases import Database, sqlalchemy_url
from tests.support.pipeline import Pipeline, a_case
from tests.support.rows import change_job, set_leader
from tests.support.sandbox_witness import Witness
from tests.support.sealed import OLD, SEALED, enqueue
from tests.support.until import until
from worker import InvalidCase, enqueue_case
from worker.errors import WrongState
from worker.ledger.database import get_engine, transaction
from worker.ledger.writer.resolve import Actor
from worker.report.edit import correct, draft
from worker.settings import Settings

Vars = dict[str, str]
RULE = '{"businessErrors": [{"type": "MissingKycVerification", "message": "verify first", "solutionUrl": null}]}'
WORKER = ["-A", "worker", "worker", "--concurrency", "1", "--without-gossip", "--without-mingle"]


@pytest.fixture
def lost(database: Database, variables: Vars, sandbox: Witness) -> Iterator[Pipeline]:
    """The fleet on the ledger that will be lost."""
    pipeline = Pipeline(Settings.from_environment(variables | {"DATABASE_URL": database.url}), database)
    yield pipeline
    pipeline.close()


@pytest.fixture
def new_ledger(postgres: LocalPostgres) -> Iterator[Database]:
    """An empty database, to restore into."""
    name = f"restored_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    made = Database(f"{postgres.url.rsplit('/', 1)[0]}/{name}", get_engine(sqlalchemy_url(postgres.url, name)))
    yield made
    made.engine.dispose()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def back_up(ledger: Database) -> bytes:
    """Back up as the runbook says."""
    command = [POSTGRES / "bin" / "pg_dump", "--format=custom", "--dbname", ledger.url]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def restore(backup: bytes, into: Database) -> None:
    command = [POSTGRES / "bin" / "pg_restore", "--exit-on-error", "--dbname", into.url]
    subprocess.run(command, check=True, input=backup, timeout=60)


def states(ledger: Database) -> dict[str, str]:
    return {str(key): str(state) for key, state in ledger.rows("SELECT idempotency_key, state FROM jobs")}


def settled(ledger: Database) -> bool:
    return not {"pending", "waiting", "queued", "submitting"} & set(states(ledger).values())


def test_what_the_lost_hours_have_submitted_is_found_and_nothing_is_sent_twice(
    lost: Pipeline, variables: Vars, sandbox: Witness, new_ledger: Database, tmp_path: Path
) -> None:
    # Given a ledger with jobs in all kinds of states, and its backup
    lost.submit(key="done", creditorReference="done")
    sandbox.fault("cases", "status", status=422, body=RULE, times=1)
    dead = lost.submit(key="dead", creditorReference="dead")
    sandbox.fault("cases", "status", status=500, times=1)
    lost.submit(key="waiting", creditorReference="waiting")
    lost.enqueue(key="pending", creditorReference="pending")
    lost.enqueue(key="nameless")
    backup = back_up(lost.ledger)

    # And an hour that the backup does not know: a person replays what was dead, another case arrives, and all of it is
    # submitted
    lost.replay(dead)
    lost.enqueue(key="arrived", creditorReference="arrived")
    lost.again()
    assert set(states(lost.ledger).values()) == {"submitted"}
    submitted = {case["creditorReference"]: case["id"] for case in sandbox.cases()}
    posts = len(sandbox.posts())

    # When the backup is restored and reconciled, and the lost case is handed over once more, with a new one
    restored = new_ledger
    restore(backup, restored)
    here = variables | {"DATABASE_URL": restored.url, "WORKER_RETRY_MAX_SECONDS": "2"}
    told = run(here, "reconcile")
    assert told.exit_code == 0, told.output
    assert "4 jobs will be looked up before sending (2 pending, 1 waiting, 1 dead)." in told.stdout
    assert "1 of them have no readable creditorReference" in told.stdout
    for key in ("arrived", "new"):
        told = run(here, "enqueue", "-", stdin=line(a_case(creditorReference=key), idempotencyKey=key))
        assert told.exit_code == 0, told.output
    worker = Child("worker", [path_of("celery"), *WORKER], environment=here, log=tmp_path / "log")
    try:
        until("all is settled", lambda: settled(restored), within=40, but=(tmp_path / "log").read_text)
        # Then what was submitted is found; what nobody can look up waits for a person, as does what was dead
        assert states(restored) == {
            "done": "submitted", "waiting": "submitted", "pending": "submitted", "arrived": "submitted",
            "new": "submitted", "nameless": "dead", "dead": "dead",
        }  # fmt: skip
        # And whoever replays that one submits nothing either
        assert run(here, "replay", dead).exit_code == 0
        until("the replay is settled", lambda: settled(restored), within=40, but=(tmp_path / "log").read_text)
    finally:
        worker.stop()
    assert states(restored)["dead"] == "submitted"
    assert [post["status"] for post in sandbox.posts()[posts:]] == [200], "only the new case was sent"
    assert sandbox.look("stats")["max_cases_per_reference"] == 1
    assert sandbox.look("stats")["max_cases_per_body"] == 1
    found = dict(restored.rows("SELECT creditor_reference, case_id FROM jobs WHERE state = 'submitted'"))
    assert {name: found[name] for name in submitted if name} == {name: submitted[name] for name in submitted if name}
    assert restored.rows("SELECT count(*) FROM jobs WHERE look_up_first") == [(1,)]


def test_reconcile_changes_nothing_in_a_dry_run_and_marks_no_job_twice(pipeline: Pipeline, variables: Vars) -> None:
    pipeline.enqueue(creditorReference="a")
    pipeline.enqueue()

    dry = run(variables, "reconcile", "--dry-run", "--since", "2h")
    assert (dry.exit_code, pipeline.ledger.value("SELECT count(*) FROM jobs WHERE look_up_first")) == (0, 0)
    assert pipeline.ledger.value("SELECT count(*) FROM restores") == 0
    assert "2 jobs would be looked up" in dry.stdout

    assert "2 jobs marked" in run(variables, "reconcile", "--since", "2026-05-31T14:00:00+02:00").stdout
    again = run(variables, "reconcile")
    assert "2 of them are already marked." in again.stdout
    assert "0 jobs marked" in again.stdout
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'reconcile'") == 2
    assert "new jobs are looked up first" in run(variables, "status").stdout
    assert json.loads(run(variables, "status", "--json").stdout)["look_up_first_until"]
    assert str(pipeline.ledger.value("SELECT min(restored_to) FROM restores")).startswith("2026-05-31 12:00:00")


def test_reconcile_refuses_to_run_while_a_worker_leads(pipeline: Pipeline, variables: Vars) -> None:
    set_leader(pipeline.ledger, "host:1")

    result = run(variables, "reconcile")

    assert result.exit_code == 2
    assert "the dispatcher of host:1 is running: stop all workers" in result.stderr


def marked(pipeline: Pipeline, **case: Any) -> UUID:
    """A job of a restored ledger."""
    job = pipeline.enqueue(**case)
    change_job(pipeline.ledger, job, look_up_first=True, outcome_unknown=True)
    return job


def test_a_marked_job_is_not_sent_while_its_look_up_fails(pipeline: Pipeline, sandbox: Witness) -> None:
    job = marked(pipeline, creditorReference="INV-1")
    sandbox.fault("lookup", "status", status=500)

    for _ in range(3):
        pipeline.again()

    assert (sandbox.posts(), sandbox.lookups()) == ([], 3)
    assert pipeline.letters(job)[0]["reason"] == "outcome_unknown"
    assert pipeline.attempts(job) == []

    # And when it works again, a replay looks it up before it sends it
    sandbox.faults()
    pipeline.replay(job)
    pipeline.run()
    assert (pipeline.job(job)["state"], pipeline.job(job)["look_up_first"]) == ("submitted", False)
    assert sandbox.lookups() == 4


def test_a_bug_before_the_look_up_does_not_let_it_be_forgotten(
    pipeline: Pipeline, sandbox: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr("worker.submission.lookup.find_case", bug)
        job = marked(pipeline, creditorReference="INV-1")
        pipeline.run()
    assert (pipeline.job(job)["state"], pipeline.job(job)["look_up_first"]) == ("waiting", True)

    pipeline.again()
    assert (pipeline.job(job)["state"], sandbox.lookups(), len(sandbox.posts())) == ("submitted", 1, 1)


def test_a_bad_partner_key_met_on_the_way_fails_no_job(pipeline: Pipeline, sandbox: Witness) -> None:
    pipeline.submit()
    sandbox.control("revoke-tokens")
    sandbox.control("api-key", accepted=False)
    job = marked(pipeline, creditorReference="INV-1")
    change_job(pipeline.ledger, job, attempt_count=2)  # the next one is the last

    pipeline.run()

    assert (pipeline.job(job)["state"], pipeline.job(job)["attempt_count"]) == ("waiting", 2)
    assert "api_key" in pipeline.holds()


def test_a_look_up_that_is_not_authorized_twice_is_an_invalid_link(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.link("acme", "invalid")

    job = marked(pipeline, creditorReference="INV-1")
    pipeline.run()

    assert pipeline.letters(job)[0]["reason"] == "second_unauthorized"
    assert (pipeline.job(job)["look_up_first"], sandbox.posts()) == (True, [])


def test_a_rate_limit_met_by_a_look_up_holds_the_fleet(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.fault("lookup", "retry-after", retryAfter=42)

    job = marked(pipeline, creditorReference="INV-1")
    pipeline.run()

    assert (pipeline.job(job)["state"], pipeline.job(job)["attempt_count"]) == ("waiting", 0)
    assert 30 < pipeline.holds()["rate_limit"] <= 42


def test_what_a_person_has_not_found_in_debitura_is_sent(pipeline: Pipeline, variables: Vars, sandbox: Witness) -> None:
    job = marked(pipeline)
    pipeline.run()
    assert (pipeline.letters(job)[0]["reason"], sandbox.posts()) == ("outcome_unknown", [])
    pipeline.replay(job)
    pipeline.run()
    assert (pipeline.job(job)["state"], sandbox.posts()) == ("dead", [])  # replaying alone does not help
    assert "reconcile --absent, then replay" in " ".join(run(variables, "show", job).stdout.split())

    assert run(variables, "reconcile", "--absent", job).exit_code == 2  # without a note
    told = run(variables, "reconcile", "--absent", job, "--note", "searched by name and amount")
    assert (told.exit_code, told.stdout) == (0, "1 job recorded as absent at the API. A replay sends them.\n")
    assert run(variables, "reconcile", "--absent", job, "--note", "again").exit_code == 1
    assert "confirmed absent at the API by" in run(variables, "show", job).stdout
    pipeline.replay(job)
    pipeline.run()

    assert (pipeline.job(job)["state"], len(sandbox.cases())) == ("submitted", 1)


def test_the_case_of_a_marked_job_cannot_be_corrected_before_it_was_looked_up(
    pipeline: Pipeline, variables: Vars, tmp_path: Path
) -> None:
    job = pipeline.submit(currencyCode="?", creditorReference="INV-1")
    run(variables, "reconcile")
    corrected = tmp_path / "case.json"
    corrected.write_text(json.dumps(a_case(creditorReference="INV-1b")))

    result = run(variables, "edit", job, "--file", corrected, "--note", "x")
    with pipeline.engine.connect() as connection:
        said_on_the_page = draft(connection, job).refused

    assert result.exit_code == 1, result.output
    assert "replay it first, which looks it up" in str(said_on_the_page)
    assert "replay it first, which looks it up" in " ".join(result.stderr.split())
    with pytest.raises(WrongState, match="restored from a backup"), transaction(pipeline.engine) as connection:
        correct(connection, job, a_case(creditorReference="INV-1b"), seen=1, actor=Actor("ada"), detail={})
    assert "was restored from a backup" in run(variables, "show", job).stdout


def test_a_sealed_case_is_looked_up_by_the_reference_inside(
    new_pipeline: Callable[..., Pipeline], variables: Vars, sandbox: Witness
) -> None:
    # Given sealed cases whose reference nobody can read: the lost hour has submitted one of them, and one has none
    keys = {"CASE_ENCRYPTION_KEYS": OLD}
    pipeline = new_pipeline(**keys)
    pipeline.submit(creditorReference="there")
    found, sent, nobody_knows = [
        enqueue(pipeline.ledger, SEALED, key=f"again {number}", creditorReference=reference).id
        for number, reference in enumerate(("there", "new", None))
    ]

    told = run(variables | keys, "reconcile")
    pipeline.run()

    assert "3 of them have no readable creditorReference" in told.stdout
    assert [pipeline.job(job)["state"] for job in (found, sent, nobody_knows)] == ["submitted", "submitted", "dead"]
    assert (sandbox.lookups(), len(sandbox.cases())) == (2, 2)
    assert pipeline.letters(nobody_knows)[0]["reason"] == "outcome_unknown"


def test_a_case_can_be_enqueued_to_be_looked_up_first_only_with_a_reference(
    pipeline: Pipeline, variables: Vars, sandbox: Witness
) -> None:
    lines = f"{line(a_case(creditorReference='A'))}\n{line(a_case())}\n"

    told = run(variables, "enqueue", "-", "--look-up-first", stdin=lines)
    pipeline.run()

    assert (told.exit_code, told.stdout) == (1, "1 enqueued, 0 already there, 1 bad\n")
    assert "line 2: case.creditorReference: is missing" in told.stderr
    assert (sandbox.lookups(), len(sandbox.posts())) == (1, 1)
    with pytest.raises(InvalidCase, match="look for it in Debitura"):
        enqueue_case(external_tenant_id="acme", case=a_case(), look_up_first=True)
