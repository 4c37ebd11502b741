"""`case-worker status` and `show`: the numbers, and one job's story."""

from __future__ import annotations

import json
from uuid import uuid4

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import set_hold, set_leader
from worker.ledger.states import State
from worker.ledger.writer.holds import HoldName


def test_status_counts_jobs_by_state_and_failures_by_reason(pipeline: Pipeline, variables: dict[str, str]) -> None:
    # Given one job of each of four fates
    pipeline.submit(creditorReference="good")
    pipeline.submit("missing-link")
    pipeline.submit("invalid-link")
    pipeline.submit(currencyCode="?")
    pipeline.enqueue(creditorReference="later")

    # When
    status = json.loads(run(variables, "status", "--json").stdout)

    # Then
    assert set(status["jobs"]) == set(State)
    assert {state: n for state, n in status["jobs"].items() if n} == {"pending": 1, "submitted": 1, "dead": 3}
    assert status["dead_letters"] == {
        "open": 3,
        "invalid_client_link": 2,
        "by_reason": {"client_link_not_found": 1, "second_unauthorized": 1, "validation": 1},
    }
    assert 0 <= status["oldest_pending_seconds"] < 60
    assert [(w["seconds"], w["limit"]) for w in status["rate_limits"]] == [(60, 2000), (3600, 20000), (86400, 100000)]
    assert status["holds"] == []
    assert status["dispatcher"] == {"leader": None}


def test_status_of_an_empty_ledger_has_all_states_and_no_age(ledger: Database, variables: dict[str, str]) -> None:
    status = json.loads(run(variables, "status", "--json").stdout)

    assert status["jobs"] == dict.fromkeys(State, 0)
    assert status["oldest_pending_seconds"] is None


def test_status_for_people_names_leader_and_hold(ledger: Database, variables: dict[str, str]) -> None:
    # Given a dispatcher that leads and an API key that is refused
    set_leader(ledger, "host-7:99")
    set_hold(ledger, HoldName.API_KEY, detail="key \x1b[2J")

    text = run(variables, "status").stdout

    assert "host-7:99" in text
    assert "the partner API key is rejected" in text
    assert "until then no job fails" in text
    assert "One job at a time probes whether it is over" in text
    assert "\x1b" not in text  # what stands in the ledger cannot command the terminal


def test_show_tells_every_attempt_and_what_is_to_be_done(pipeline: Pipeline, variables: dict[str, str]) -> None:
    job = pipeline.submit("invalid-link", creditorReference="R9")

    text = run(variables, "show", job).stdout

    assert f"job {job}: dead" in text
    assert "attempt 1 (minted token " in text
    assert "401" in text
    assert "attempt 2, a retry with a fresh token" in text
    assert "did not accept the fresh token either, so the client link is invalid" in text
    assert "have the client linked again, then replay" in text


def test_show_says_that_an_unknown_outcome_was_looked_up(pipeline: Pipeline, variables: dict[str, str]) -> None:
    # Given a case that arrived while its answers were lost, every time
    job = pipeline.submit(creditorReference="R10", tag="sandbox:drop-after")
    while pipeline.job(job)["state"] == State.WAITING:
        pipeline.again()

    text = run(variables, "show", job).stdout

    assert "outcome unknown: the request may have arrived" in text
    assert "found by its creditorReference: an earlier request had created it" in text
    assert str(pipeline.job(job)["case_id"]) in text


def test_show_as_json_has_the_rows_and_the_words(pipeline: Pipeline, variables: dict[str, str]) -> None:
    job = pipeline.submit(currencyCode="?", amountToRecover=12.5)

    told = json.loads(run(variables, "show", job, "--json").stdout)

    assert told["job"]["id"] == str(job)
    assert (told["job"]["state"], told["job"]["amount"], told["job"]["priority"]) == ("dead", "12.50", "normal")
    assert [attempt["http_status"] for attempt in told["attempts"]] == [400]
    assert told["dead_letters"][0]["reason"] == "validation"
    assert told["what_to_do"]
    assert [event["text"].split(":")[0] for event in told["timeline"]][::2] == [
        "enqueued, with normal priority",
        "dead",
    ]


def test_show_of_an_unknown_job_is_one_line_and_a_failure(ledger: Database, variables: dict[str, str]) -> None:
    result = run(variables, "show", uuid4())

    assert result.exit_code == 1
    assert result.stderr.startswith("case-worker: there is no job ")
    assert run(variables, "show", "17").exit_code == 2
