"""A request with an unknown outcome is treated neither as sent nor as not sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from processes import clean_environment, program

from tests.support.faults.deployments import Deployments
from tests.support.faults.stage import Stage

DUPLICATE = json.dumps(
    {"businessErrors": [{"type": "DuplicateReference", "message": "used already", "solutionUrl": None}]}
)


@pytest.fixture(scope="module")
def stage(deployments: Deployments) -> Iterator[Stage]:
    with deployments.open(pools=("prefork",), app="worker", settings={"WORKER_MAX_ATTEMPTS": "3"}) as running:
        yield running


def lived(stage: Stage, **case: Any) -> tuple[UUID, str]:
    """Enqueue one case and wait for its end. Returns the job's id and state."""
    (job_id,) = stage.enqueue(1, **case)
    stage.settle()
    stage.require_invariant()
    return job_id, stage.rows("SELECT state FROM jobs WHERE id = %s", job_id)[0][0]


def requests(stage: Stage, job_id: UUID) -> list[int | None]:
    """The answers that the sandbox gave to the job's requests, all under one key."""
    ((key,),) = stage.rows("SELECT DISTINCT submission_key FROM attempts WHERE job_id = %s", job_id)
    return [post["status"] for post in stage.witness.posts() if post["idempotencyKey"] == str(key)]


def outcomes(stage: Stage, job_id: UUID) -> list[str]:
    return [row[0] for row in stage.rows("SELECT outcome FROM attempts WHERE job_id = %s ORDER BY number", job_id)]


def shown(stage: Stage, job_id: UUID) -> str:
    """The output of `case-worker show`."""
    environment = clean_environment() | stage.environment | {"DATABASE_URL": stage.database_url}
    ran = subprocess.run(
        [program("case-worker"), "show", str(job_id)], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_given_an_answer_that_was_lost_when_asked_again_under_the_same_key_then_it_is_submitted(stage: Stage) -> None:
    job_id, state = lived(stage, tag="sandbox:drop-after-once")
    assert (state, outcomes(stage, job_id)) == ("submitted", ["unknown", "submitted"])
    assert requests(stage, job_id) == [None, 200]


def test_given_answers_that_are_always_lost_when_the_limit_is_reached_then_the_case_is_looked_up(stage: Stage) -> None:
    job_id, state = lived(stage, tag="sandbox:drop-after")
    assert (state, outcomes(stage, job_id)) == ("submitted", ["unknown"] * 3)
    assert "may have arrived" in shown(stage, job_id)


def test_given_no_reference_when_answers_are_always_lost_then_a_person_decides(stage: Stage) -> None:
    job_id, state = lived(stage, tag="sandbox:drop-after", creditorReference=None)
    assert (state, outcomes(stage, job_id)) == ("dead", ["unknown"] * 3)
    assert stage.rows("SELECT reason FROM dead_letters WHERE job_id = %s", job_id) == [("outcome_unknown",)]
    told = shown(stage, job_id)
    assert "may have arrived" in told
    assert "outcome unknown: the request may have arrived" in told


def test_given_requests_that_never_arrive_when_the_look_up_finds_nothing_then_a_person_decides(stage: Stage) -> None:
    job_id, state = lived(stage, tag="sandbox:drop-before")
    assert (state, requests(stage, job_id)) == ("dead", [None] * 3)
    assert stage.rows("SELECT reason FROM dead_letters WHERE job_id = %s", job_id) == [("outcome_unknown",)]


def test_given_a_key_that_the_api_forgot_when_the_reference_is_a_duplicate_then_the_case_is_looked_up(
    stage: Stage,
) -> None:
    tenant = {"tenant": "forgotten-0", "endpoint": "cases", "times": 1}
    stage.witness.misbehave(
        tenant | {"kind": "reset-after"}, tenant | {"kind": "status", "status": 422, "body": DUPLICATE}
    )
    job_id, state = lived(stage, prefix="forgotten", tenants=1)
    assert (state, outcomes(stage, job_id)) == ("submitted", ["unknown", "refused"])
    assert requests(stage, job_id) == [None, 422]


def test_given_a_duplicate_that_cannot_be_ours_when_it_is_refused_then_nothing_is_looked_up(stage: Stage) -> None:
    stage.witness.misbehave(
        {"tenant": "another-0", "endpoint": "cases", "kind": "status", "status": 422, "body": DUPLICATE}
    )
    job_id, state = lived(stage, prefix="another", tenants=1)
    stage.witness.behave()
    assert (state, outcomes(stage, job_id)) == ("dead", ["refused"])
    assert stage.rows("SELECT reason FROM dead_letters WHERE job_id = %s", job_id) == [("business_rule",)]


def test_given_a_success_that_names_no_case_when_it_is_looked_up_then_it_is_submitted(stage: Stage) -> None:
    job_id, state = lived(stage, tag="sandbox:empty-200")
    assert (state, requests(stage, job_id)) == ("submitted", [200])


def test_given_a_success_that_names_no_case_and_no_reference_then_a_person_decides(stage: Stage) -> None:
    job_id, state = lived(stage, tag="sandbox:wrong-types", creditorReference=None)
    assert (state, outcomes(stage, job_id)) == ("dead", ["unusable"] * 3)
    assert stage.rows("SELECT reason FROM dead_letters WHERE job_id = %s", job_id) == [("unexpected_response",)]
