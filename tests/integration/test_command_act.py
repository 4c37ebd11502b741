"""`case-worker replay` and `discard`: what is acted on, what is skipped, and who did it."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import insert_dead_job, insert_unreadable_message
from tests.support.sandbox_witness import Witness
from worker.cli import act
from worker.ledger.states import State
from worker.report import operations


def lost_answer(pipeline: Pipeline, tenant: str = "acme", **fields: str) -> UUID:
    """A dead job whose outcome is unknown."""
    job = pipeline.submit(tenant, tag="sandbox:status=500", **fields)
    while pipeline.job(job)["state"] == State.WAITING:
        pipeline.again()
    return job


def test_replay_renews_the_key_after_a_known_outcome_and_keeps_it_after_an_unknown_one(
    pipeline: Pipeline, variables: dict[str, str]
) -> None:
    # Given three dead jobs: one refused, two without an answer that decides
    refused = pipeline.submit(currencyCode="?")
    findable, bare = lost_answer(pipeline, creditorReference="R1"), lost_answer(pipeline, "other")
    keys = {job: pipeline.job(job)["submission_key"] for job in (refused, findable, bare)}

    # When all are replayed
    result = run(variables, "replay", "--all", "--note", "the API is well again")

    # Then the command says what became of the keys, and so it is
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ("3 jobs of 2 tenants replayed: new key 1, look-up first 1, same key 1\n")
    assert [pipeline.job(job)["state"] for job in keys] == ["pending"] * 3
    assert [pipeline.job(job)["submission_key"] == key for job, key in keys.items()] == [False, True, True]


def test_a_dry_run_says_the_same_and_changes_nothing(pipeline: Pipeline, variables: dict[str, str]) -> None:
    job = pipeline.submit(currencyCode="?")

    result = run(variables, "replay", "--all", "--dry-run")

    assert result.stdout.startswith("1 job of 1 tenant would be replayed: new key 1\n")
    assert pipeline.job(job)["state"] == "dead"
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log") == 0


def test_who_acted_how_and_why_is_audited(pipeline: Pipeline, variables: dict[str, str]) -> None:
    first, second = pipeline.submit(currencyCode="?"), pipeline.submit(currencyCode="?")

    run(variables, "replay", first)
    run(variables, "discard", "--reason", "validation", "--note", "paid meanwhile", "--as", "Åse")

    os_user = pwd.getpwuid(os.getuid()).pw_name
    told = pipeline.ledger.rows("SELECT actor, action, job_id, note, detail FROM audit_log ORDER BY id")
    assert [entry[:4] for entry in told if entry[2]] == [
        (os_user, "replay", first, None),
        ("Åse", "discard", second, "paid meanwhile"),
    ]
    # And each entry names the operation, whose own entries say what was selected and what came of it
    detail = next(entry[4] for entry in told if entry[2] == second)
    assert isinstance(detail, dict)
    assert (detail["os_user"], detail["door"], detail["operation"]) == (os_user, "command line", 2)
    started, finished = (entry[4] for entry in told if entry[2] is None and entry[0] == "Åse")
    assert isinstance(started, dict)
    assert isinstance(finished, dict)
    assert (started["operation"], started["filter"]["reason"], started["jobs"]) == (2, "validation", 1)
    assert (finished["operation"], finished["state"], finished["done"]) == (2, "done", 1)
    assert pipeline.job(second)["state"] == "discarded"


def test_jobs_that_cannot_be_replayed_are_listed_and_the_others_are_done(
    pipeline: Pipeline, variables: dict[str, str]
) -> None:
    dead, done, unknown = pipeline.submit(currencyCode="?"), pipeline.submit(creditorReference="R2"), uuid4()

    result = run(variables, "replay", dead, done, unknown, dead)

    assert result.exit_code == 1
    assert result.stdout.startswith("1 job of 1 tenant replayed")
    assert sorted(result.stderr.splitlines()) == sorted(
        [
            f"case-worker: skipped {unknown}: there is no such job",
            f"case-worker: skipped {done}: it is submitted, and only a dead job can be replayed",
        ]
    )
    assert pipeline.job(dead)["state"] == "pending"


@pytest.mark.parametrize("command", [["replay"], ["discard", "--note", "x"]])
def test_nothing_selected_is_wrong_use_and_says_how_to_select(
    pipeline: Pipeline, variables: dict[str, str], command: list[str]
) -> None:
    job = pipeline.submit(currencyCode="?")

    result = run(variables, *command)

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(option in result.stderr for option in ("job ids", "--tenant", "--reason", "--all"))
    assert run(variables, *command, job, "--all").exit_code == 2
    assert pipeline.job(job)["state"] == "dead"


@pytest.mark.parametrize("note", [[], ["--note", "  "]])
def test_nothing_is_discarded_without_a_reason(pipeline: Pipeline, variables: dict[str, str], note: list[str]) -> None:
    job = pipeline.submit(currencyCode="?")

    assert run(variables, "discard", job, *note).exit_code == 2
    assert pipeline.job(job)["state"] == "dead"


def test_a_discard_says_which_cases_may_exist_all_the_same(ledger: Database, variables: dict[str, str]) -> None:
    insert_dead_job(ledger, unknown=True, reference="R-1")
    insert_dead_job(ledger, unknown=True)
    insert_dead_job(ledger)

    looked = run(variables, "discard", "--all", "--note", "x", "--dry-run").stdout

    assert "3 jobs of 1 tenant would be discarded; 2 of the cases may exist at Debitura" in looked


def test_a_filter_that_fits_nothing_is_done_at_once(ledger: Database, variables: dict[str, str]) -> None:
    result = run(variables, "replay", "--tenant", "nobody")

    assert (result.exit_code, result.stdout) == (0, "nothing to replay\n")


def test_unreadable_messages_are_discarded_and_never_replayed(pipeline: Pipeline, variables: dict[str, str]) -> None:
    # Given two messages that became no job, and a dead job
    insert_unreadable_message(pipeline.ledger)
    insert_unreadable_message(pipeline.ledger)
    job = pipeline.submit(currencyCode="?")

    # When they are to be replayed, it is said that this cannot be, and what to do
    refused = run(variables, "replay", "--reason", "malformed_message")
    assert refused.exit_code == 1
    assert "skipped 2 unreadable messages: an unreadable message cannot be replayed" in refused.stderr

    # And replaying all dead jobs is not called a failure for their sake
    assert run(variables, "replay", "--all").exit_code == 0
    assert pipeline.job(job)["state"] == "pending"

    # When they are discarded
    done = run(variables, "discard", "--reason", "malformed_message", "--note", "sender fixed")

    # Then they are gone, and audited
    assert (done.exit_code, done.stdout) == (0, "2 unreadable messages discarded\n")
    assert pipeline.ledger.value("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL") == 0
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'discard' AND job_id IS NULL") == 2


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--type", "CreditorBlocked"], 1),
        (["--status", "404"], 1),
        (["--min-amount", "50", "--max-amount", "150.50", "--currency", "dkk"], 2),
        (["--older-than", "1h"], 1),
        (["--reference", "R-1"], 1),
        (["--text", "EMAIL inv"], 1),
        (["--type", "CreditorBlocked", "--status", "404"], 0),
    ],
)
def test_the_same_filters_select_what_is_acted_on(
    ledger: Database, variables: dict[str, str], options: list[str], count: int
) -> None:
    insert_dead_job(ledger, "a", reference="R-1", amount="100", age="2 hours")
    insert_dead_job(ledger, "b", error_type="CreditorBlocked", message="blocked", status=422, amount="150.50")
    insert_dead_job(ledger, "c", message="no such division", status=404, currency="EUR")

    report = json.loads(run(variables, "report", "--format", "json", *options).stdout)
    looked = run(variables, "replay", "--dry-run", *options).stdout
    done = run(variables, "discard", "--note", "x", *options).stdout

    assert len(report["failures"]) == count
    jobs = f"{count} job of 1 tenant" if count == 1 else f"{count} jobs of {count} tenants"
    assert looked.startswith(f"{jobs} would be replayed" if count else "nothing to replay")
    assert done.startswith(f"{jobs} discarded" if count else "nothing to discard")
    assert ledger.value("SELECT count(*) FROM jobs WHERE state = 'discarded'") == count


def test_a_group_of_the_report_can_be_acted_on_by_its_key(ledger: Database, variables: dict[str, str]) -> None:
    insert_dead_job(ledger, "a", message="Case 1 is odd")
    insert_dead_job(ledger, "b", message="Case 2 is odd")
    insert_dead_job(ledger, "b", message="another matter")
    key = json.loads(run(variables, "report", "--format", "json").stdout)["groups"][0]["key"]

    assert run(variables, "replay", "--cause", key).stdout.startswith("2 jobs of 2 tenants replayed")


@pytest.mark.parametrize("option", [["--min-amount", "1e5"], ["--max-amount", "1,5"], ["--status", "42"]])
def test_a_filter_that_cannot_be_read_is_wrong_use(variables: dict[str, str], option: list[str]) -> None:
    result = run(variables, "replay", *option)

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(("signed", "code", "done"), [(True, 0, 8), (False, 1, 1)])
def test_a_canary_goes_on_only_while_jobs_fare_better(
    pipeline: Pipeline, variables: dict[str, str], sandbox: Witness, monkeypatch: pytest.MonkeyPatch,
    signed: bool, code: int, done: int,
) -> None:  # fmt: skip
    # Given eight dead jobs of a client that has, or has not, signed since; and a worker
    for number in range(8):
        pipeline.submit("unfinished-client", creditorReference=f"R{number}")
    if signed:
        sandbox.link("unfinished-client", "ok")
    monkeypatch.setattr(act, "run", partial(operations.run, sleep=lambda _: pipeline.run()))

    result = run(variables, "replay", "--tenant", "unfinished-client", "--canary")

    assert result.exit_code == code
    told = result.stdout.splitlines()[-1]  # (the worker of this test logs into the same stream)
    assert told.startswith(f"{done} job{'s' if done > 1 else ''} of 1 tenant replayed: new key {done}")
    assert ("died for the same cause again" in result.stderr) is not signed


def test_ctrl_c_cancels_and_says_what_is_done(
    ledger: Database, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        insert_dead_job(ledger)
    monkeypatch.setattr(operations, "CHUNK", 1)
    once = iter([True])

    def interrupted(*arguments: object, watch: Callable[..., None] = lambda _: None, **more: object) -> bool:
        def pressed(chunk: object) -> None:
            watch(chunk)
            if next(once, False):
                raise KeyboardInterrupt

        return operations.run(*arguments, watch=pressed, **more)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(act, "run", interrupted)

    result = run(variables, "replay", "--all")

    assert result.exit_code == 1
    assert result.stdout.startswith("1 job of 1 tenant replayed")
    assert "interrupted" in result.stderr
    assert ledger.rows("SELECT state, done FROM operations") == [("cancelled", 1)]


def test_a_replayed_job_goes_all_the_way(pipeline: Pipeline, variables: dict[str, str], sandbox: Witness) -> None:
    """The sandbox stores the refusal under the old key, so only a new key can succeed."""
    # Given a client that has not signed, and then signs
    job = pipeline.submit("unfinished-client", creditorReference="R1")
    assert pipeline.job(job)["state"] == "dead"
    sandbox.link("unfinished-client", "ok")

    # When
    run(variables, "replay", "--tenant", "unfinished-client")
    pipeline.run()

    # Then
    assert pipeline.job(job)["state"] == "submitted"
    told = json.loads(run(variables, "show", job, "--json").stdout)
    assert any("with a new submission key" in event["text"] for event in told["timeline"])
