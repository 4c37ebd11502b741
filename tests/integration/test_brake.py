"""The brake: when the API refuses everybody alike, no job pays for it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.support.outages import dispatch, let_holds_and_backoffs_lapse, states
from tests.support.pipeline import ACTOR, Pipeline
from tests.support.sandbox_witness import Witness
from worker.ledger.database import transaction
from worker.ledger.states import AttemptOutcome, Reason
from worker.ledger.writer.brake import accept_verdict, judge_deaths, lock_verdicts, release_brake
from worker.ledger.writer.record import Sent, apply_transitions, dead
from worker.policy.brake import BrakePolicy

#: One answer to every POST /cases, and the dead-letter reason that it would lead to.
VERDICTS = {
    "second_unauthorized": {"status": 401, "body": '{"error": "unauthorized"}'},
    "validation": {"status": 400, "body": '{"debtor.phone": ["The field is not allowed"]}'},
    "forbidden": {"status": 403, "body": '{"error": "forbidden", "message": "No access"}'},
    "not_found": {"status": 404, "body": '{"error": "NotFound", "message": "No such resource"}'},
    "business_rule": {"status": 422, "body": '{"businessErrors": [{"type": "NoPartnerAvailable", "message": "x"}]}'},
}


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return new_pipeline(WORKER_RATE_LIMITS="100000/minute")


def jobs_of_tenants(pipeline: Pipeline, jobs: int = 30, tenants: int = 6) -> list[UUID]:
    return [pipeline.enqueue(f"tenant-{n % tenants}", creditorReference=f"r-{n}") for n in range(jobs)]


def refuse_everybody(sandbox: Witness, reason: str) -> None:
    sandbox.fault("cases", "status", contentType="application/json", **VERDICTS[reason])


def run_one_by_one(pipeline: Pipeline, jobs: int) -> None:
    """As a fleet does that always has work: a few at a time."""
    for _ in range(jobs):
        if not (ids := dispatch(pipeline)):
            return
        pipeline.run(ids)


@pytest.mark.parametrize("reason", VERDICTS)
def test_a_verdict_on_everybody_stops_the_fleet_and_is_taken_back(
    pipeline: Pipeline, sandbox: Witness, reason: str
) -> None:
    # Given an API that refuses everybody alike
    jobs = jobs_of_tenants(pipeline)
    refuse_everybody(sandbox, reason)

    # When the fleet meets it
    pipeline.run()

    # Then it stops, and nothing is dead or flagged
    assert states(pipeline, jobs) == {"pending"}
    assert set(pipeline.holds()) == {"brake"}
    assert pipeline.ledger.value("SELECT reason FROM holds WHERE name = 'brake'") == reason
    assert pipeline.ledger.value("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL") == 0
    assert pipeline.ledger.value("SELECT count(*) FROM tenant_links") == 0
    assert max(pipeline.job(job)["attempt_count"] for job in jobs) == 0

    # And probes go out one at a time, of changing tenants
    probed = set()
    for _ in range(4):
        let_holds_and_backoffs_lapse(pipeline)
        (probe,) = dispatch(pipeline)
        assert dispatch(pipeline) == []
        pipeline.run([probe])
        probed.add(pipeline.job(probe)["external_tenant_id"])
        assert pipeline.holds()["brake"] > 10
    assert len(probed) >= 2
    assert states(pipeline, jobs) == {"pending"}

    # And when the API works again, everything goes on by itself
    sandbox.faults()
    let_holds_and_backoffs_lapse(pipeline)
    pipeline.run(dispatch(pipeline))
    assert pipeline.holds() == {}
    run_one_by_one(pipeline, len(jobs))
    assert states(pipeline, jobs) == {"submitted"}
    assert pipeline.ledger.value("SELECT count(*) FROM dead_letters WHERE resolution <> 'withdrawn'") == 0
    assert len(sandbox.cases()) == len(jobs)


def test_a_mint_that_knows_nobody_stops_the_fleet(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_of_tenants(pipeline, jobs=40, tenants=40)
    body = '{"error": "NotFound", "message": "no link"}'
    sandbox.fault("token", "status", status=404, contentType="application/json", body=body)

    pipeline.run()

    assert set(pipeline.holds()) == {"brake"}
    assert states(pipeline, jobs) == {"pending"}
    sandbox.faults()
    let_holds_and_backoffs_lapse(pipeline)
    pipeline.run(dispatch(pipeline))
    run_one_by_one(pipeline, len(jobs))
    assert states(pipeline, jobs) == {"submitted"}


@pytest.mark.parametrize(
    ("jobs", "tenants", "changes"),
    [(19, 6, {}), (60, 4, {}), (60, 6, {"WORKER_BRAKE_JOBS": "0"})],
    ids=["too few jobs", "too few tenants", "switched off"],
)
def test_otherwise_a_verdict_is_each_jobs_own(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness, jobs: int, tenants: int, changes: dict[str, str]
) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="100000/minute", **changes)
    ids = jobs_of_tenants(pipeline, jobs, tenants)
    refuse_everybody(sandbox, "validation")

    pipeline.run()

    assert pipeline.holds() == {}
    assert states(pipeline, ids) == {"dead"}


def test_a_verdict_beside_good_ones_is_each_jobs_own(pipeline: Pipeline, sandbox: Witness) -> None:
    good, bad = [], []
    for n in range(24):
        bad.append(pipeline.submit(f"tenant-{n}", currencyCode="?"))
        if n % 6 == 0:
            good.append(pipeline.submit("good", key=str(n)))

    assert states(pipeline, good) == {"submitted"}
    assert states(pipeline, bad) == {"dead"}
    assert pipeline.holds() == {}


def test_a_probe_that_dies_of_its_own_releases_the_brake(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_of_tenants(pipeline)
    refuse_everybody(sandbox, "forbidden")
    pipeline.run()
    sandbox.fault("cases", "status", contentType="application/json", **VERDICTS["validation"])

    let_holds_and_backoffs_lapse(pipeline)
    (probe,) = dispatch(pipeline)
    pipeline.run([probe])

    assert pipeline.holds() == {}
    assert pipeline.job(probe)["state"] == "dead"
    assert states(pipeline, [job for job in jobs if job != probe]) == {"pending"}


def test_jobs_that_are_truly_bad_do_not_stop_the_fleet_for_ever(pipeline: Pipeline, sandbox: Witness) -> None:
    bad = [pipeline.enqueue(f"tenant-{n % 6}", currencyCode="?") for n in range(24)]
    for _ in range(6):
        pipeline.run(dispatch(pipeline))
        if pipeline.holds():
            good = pipeline.enqueue("good")
            for _ in range(20):
                let_holds_and_backoffs_lapse(pipeline)
                pipeline.run(dispatch(pipeline))
                if not pipeline.holds():
                    break
            assert pipeline.job(good)["state"] == "submitted"

    run_one_by_one(pipeline, 60)

    assert states(pipeline, bad) == {"dead"}
    assert pipeline.holds() == {}


def test_a_person_accepts_the_verdict(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_of_tenants(pipeline)
    refuse_everybody(sandbox, "business_rule")
    pipeline.run()

    with transaction(pipeline.engine) as connection:
        accepted = accept_verdict(connection, ACTOR)
    run_one_by_one(pipeline, 30)

    assert accepted is not None
    assert pipeline.holds() == {}
    assert states(pipeline, jobs) == {"dead"}
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'brake_accepted'") == 1


def test_a_person_releases_the_brake_and_it_stops_again(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_of_tenants(pipeline)
    refuse_everybody(sandbox, "business_rule")
    pipeline.run()

    with transaction(pipeline.engine) as connection:
        assert release_brake(connection, ACTOR) is not None
        assert release_brake(connection, ACTOR) is None
    run_one_by_one(pipeline, 30)

    assert set(pipeline.holds()) == {"brake"}
    assert states(pipeline, jobs) == {"pending"}


def test_an_answer_that_is_recorded_after_the_release_is_taken_back_too(pipeline: Pipeline, sandbox: Witness) -> None:
    # Given a request that leaves before the brake is on, and whose worker is slow
    slow = pipeline.enqueue("tenant-0")
    lease, (claimed,) = pipeline.claim(pipeline.release())
    jobs_of_tenants(pipeline)
    refuse_everybody(sandbox, "validation")
    pipeline.run()
    detail = pipeline.ledger.value("SELECT detail FROM dead_letters LIMIT 1")
    assert isinstance(detail, dict)

    # When the brake is released, and only then its refusal is recorded
    with transaction(pipeline.engine) as connection:
        assert release_brake(connection, ACTOR)
    sent = Sent(claimed.request_count, AttemptOutcome.REFUSED, 5, http_status=400)
    refused = dead(
        slow, claimed.request_count, sent, reason=Reason.VALIDATION, error="x", detail=detail, solution_url=None,
        unknown=False,
    )  # fmt: skip
    with transaction(pipeline.engine) as connection:
        lock_verdicts(connection)
        apply_transitions(connection, [refused], lease=lease)
        taken = judge_deaths(connection, [slow], BrakePolicy(20, 5))

    # Then it is no verdict either
    assert taken == {slow}
    assert pipeline.job(slow)["state"] == "pending"
    assert pipeline.letters(slow)[0]["resolution"] == "withdrawn"


def test_while_the_brake_is_on_nothing_is_claimed(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs_of_tenants(pipeline)
    refuse_everybody(sandbox, "validation")
    pipeline.run()
    posts = len(sandbox.posts())

    assert pipeline.run(pipeline.release()) == 0

    assert len(sandbox.posts()) == posts
