"""Jobs that always fail die at their limit and don't count as an outage."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.support.outages import OUTAGES, dispatch, jobs_of, let_holds_and_backoffs_lapse, states
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from worker.ledger.database import transaction
from worker.ledger.queries.waiting import fleet_waits
from worker.policy.circuit_breaker import FAILED_JOBS_AT_LEAST, PROBE_AT_LEAST_EVERY, PROBE_EVERY
from worker.policy.rate_limit import Pace
from worker.report.waiting import describe_fleet

PipelineMaker = Callable[..., Pipeline]
LIMIT = 2


@pytest.fixture
def pipeline(new_pipeline: PipelineMaker) -> Pipeline:
    return new_pipeline(WORKER_MAX_ATTEMPTS=str(LIMIT), WORKER_RATE_LIMITS="100000/minute")


def persistently_failing_jobs(pipeline: Pipeline, count: int = FAILED_JOBS_AT_LEAST + 2) -> list[UUID]:
    """Jobs that always get a 500, tried once. The circuit is open, since this may still be an outage."""
    jobs = [pipeline.enqueue(f"failing-{n}", tag="sandbox:status=500") for n in range(count)]
    pipeline.run()
    assert set(pipeline.holds()) == {"customer_api"}
    return jobs


def a_good_job_is_the_probe(pipeline: Pipeline) -> None:
    good = pipeline.enqueue("good")
    for _ in range(5):  # those that were handed back when it opened have not been tried either, and go before
        let_holds_and_backoffs_lapse(pipeline)
        pipeline.run(dispatch(pipeline))
        if pipeline.job(good)["state"] == "submitted":
            break
    assert pipeline.holds() == {}


def counted(pipeline: Pipeline, jobs: list[UUID]) -> int:
    """The attempts that were counted, of all these jobs together."""
    return sum(pipeline.job(job)["attempt_count"] for job in jobs)


def time_passes(pipeline: Pipeline, seconds: int) -> None:
    """Move everything the ledger knows about good and bad answers into the past."""
    for table, column in (("api_use", "since"), ("circuit_closings", "closed_at"), ("jobs", "failing_since"),
                          ("attempts", "finished_at"), ("holds", "since")):  # fmt: skip
        pipeline.ledger.rows(f"UPDATE {table} SET {column} = {column} - {seconds} * interval '1 s'")


def test_persistently_failing_jobs_die_once_the_api_answers_another_job(
    pipeline: Pipeline, new_pipeline: PipelineMaker
) -> None:
    # Given more jobs that always fail than make an outage, and an API that answers another well
    jobs = persistently_failing_jobs(pipeline)
    a_good_job_is_the_probe(pipeline)

    # When they are tried again, by whatever process
    for worker in (new_pipeline(WORKER_MAX_ATTEMPTS=str(LIMIT)), pipeline):
        worker.again()
        assert pipeline.holds() == {}, "no outage: the API was seen to work while they failed"

    # Then they die at their limit, and the reason is true
    assert states(pipeline, jobs) == {"dead"}
    assert {pipeline.letters(job)[0]["reason"] for job in jobs} == {"retries_exhausted"}


def test_jobs_of_a_tenant_that_never_gets_a_token_die(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.fault("token", "status", status=500, tenant="failing")
    jobs = [pipeline.enqueue("failing") for _ in range(FAILED_JOBS_AT_LEAST + 2)]
    pipeline.run()
    assert set(pipeline.holds()) == {"referral_api"}
    a_good_job_is_the_probe(pipeline)

    for _ in range(LIMIT):
        pipeline.again()

    assert pipeline.holds() == {}
    assert states(pipeline, jobs) == {"dead"}


def test_new_failing_jobs_open_the_circuit_beside_persistently_failing_ones(
    pipeline: Pipeline, sandbox: Witness
) -> None:
    persistently_failing_jobs(pipeline)
    a_good_job_is_the_probe(pipeline)
    jobs = jobs_of(pipeline)
    sandbox.faults(OUTAGES["customer_api"])

    pipeline.run()

    assert set(pipeline.holds()) == {"customer_api"}
    assert states(pipeline, jobs) <= {"pending", "waiting"}


@pytest.mark.parametrize("seconds", [20, 40])
def test_an_outage_that_follows_an_outage_is_one_once_nothing_good_has_come_for_a_while(
    pipeline: Pipeline, new_pipeline: PipelineMaker, sandbox: Witness, seconds: int
) -> None:
    """Jobs that failed in an earlier outage differ from persistently failing ones only by the lack of good answers."""
    jobs = jobs_of(pipeline)
    sandbox.faults(OUTAGES["customer_api"])
    pipeline.run()
    sandbox.faults()
    a_good_job_is_the_probe(pipeline)
    sandbox.faults(OUTAGES["customer_api"])
    time_passes(pipeline, seconds)
    before = counted(pipeline, jobs)

    new_pipeline(WORKER_MAX_ATTEMPTS="12").again()

    assert set(pipeline.holds()) == ({"customer_api"} if seconds > 30 else set())
    more = counted(pipeline, jobs) - before
    assert more < FAILED_JOBS_AT_LEAST if seconds > 30 else more == len(jobs)


def test_a_replayed_job_is_not_persistently_failing(pipeline: Pipeline) -> None:
    jobs = persistently_failing_jobs(pipeline)
    a_good_job_is_the_probe(pipeline)
    for _ in range(LIMIT):
        pipeline.again()

    pipeline.replay(*jobs)

    assert {pipeline.job(job)["failing_since"] for job in jobs} == {None}


def test_failures_before_a_circuit_closed_do_not_open_it_again(
    pipeline: Pipeline, new_pipeline: PipelineMaker, sandbox: Witness
) -> None:
    # Given two processes that have seen an outage, of which one sees its end
    sandbox.faults(OUTAGES["customer_api"])
    another = new_pipeline(WORKER_MAX_ATTEMPTS="12")
    for worker in (another, pipeline):
        jobs_of(worker)
        worker.run()
    sandbox.faults()
    a_good_job_is_the_probe(pipeline)

    # When a single job fails after it, in each of them
    for worker in (another, pipeline):
        bad = worker.enqueue("bad", tag="sandbox:status=500")
        worker.run([bad] if bad in worker.release() else [])

    # Then that is no outage
    assert pipeline.holds() == {}


def test_jobs_taken_back_from_dead_workers_open_no_circuit(pipeline: Pipeline) -> None:
    for n in range(3 * FAILED_JOBS_AT_LEAST):
        pipeline.enqueue(f"tenant-{n}")
    pipeline.claim(pipeline.release())
    assert len(pipeline.lapse()) == 3 * FAILED_JOBS_AT_LEAST

    pipeline.submit("bad", tag="sandbox:status=500")

    assert pipeline.holds() == {}


@pytest.mark.parametrize(("open_for", "pause"), [(60, PROBE_EVERY), (3600, 24), (86_000, PROBE_AT_LEAST_EVERY)])
def test_where_nothing_succeeds_the_probes_become_rarer_and_status_says_so(
    pipeline: Pipeline, open_for: int, pause: float
) -> None:
    jobs = persistently_failing_jobs(pipeline)
    time_passes(pipeline, open_for)
    let_holds_and_backoffs_lapse(pipeline)

    pipeline.run(dispatch(pipeline))

    assert pipeline.holds() == {"customer_api": pytest.approx(pause, abs=1.5)}
    assert states(pipeline, jobs) <= {"pending", "waiting"}, "nobody can tell, so nobody dies"
    with transaction(pipeline.engine) as connection:
        words = " ".join(describe_fleet(fleet_waits(connection, Pace.parse("600/minute"))))
    assert ("these jobs may fail" in words) == (open_for > 300)
