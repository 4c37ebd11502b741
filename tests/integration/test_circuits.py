"""Circuit breakers: no job dies in an outage, single probes find its end, one tenant's failures open no circuit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.outages import OUTAGES, dispatch, jobs_of, let_holds_and_backoffs_lapse, states
from tests.support.pipeline import Pipeline
from tests.support.rows import set_hold
from tests.support.sandbox_witness import Witness
from worker.ledger.writer.holds import HoldName
from worker.policy.circuit_breaker import FAILED_JOBS_AT_LEAST

PipelineMaker = Callable[..., Pipeline]


@pytest.fixture
def pipeline(new_pipeline: PipelineMaker) -> Pipeline:
    return new_pipeline(WORKER_MAX_ATTEMPTS="2", WORKER_RATE_LIMITS="100000/minute")


@pytest.mark.parametrize("circuit", OUTAGES)
def test_in_an_outage_the_circuit_opens_no_attempt_is_counted_and_nothing_dies(
    pipeline: Pipeline, sandbox: Witness, circuit: str
) -> None:
    # Given an outage, and jobs that would be dead after two attempts
    jobs = jobs_of(pipeline)
    sandbox.faults(OUTAGES[circuit])
    pipeline.run()
    assert set(pipeline.holds()) == {circuit}

    # When probe after probe fails
    for _ in range(5):
        let_holds_and_backoffs_lapse(pipeline)
        probe = dispatch(pipeline)
        assert len(probe) == 1
        assert dispatch(pipeline) == [], "one at a time"
        pipeline.run(probe)

    # Then nobody died, and hardly an attempt was counted
    assert states(pipeline, jobs) <= {"pending", "waiting"}
    assert max(pipeline.job(job)["attempt_count"] for job in jobs) <= 1
    assert pipeline.ledger.value("SELECT probes FROM holds") == 5

    # And when the outage is over, one probe closes the circuit and all are submitted
    sandbox.faults()
    let_holds_and_backoffs_lapse(pipeline)
    pipeline.run(dispatch(pipeline))
    assert pipeline.holds() == {}
    for _ in range(3):
        pipeline.run(dispatch(pipeline))
    assert states(pipeline, jobs) == {"submitted"}


def test_a_failure_share_opens_the_circuit_though_some_answers_are_good(pipeline: Pipeline) -> None:
    for n in range(FAILED_JOBS_AT_LEAST):
        assert pipeline.holds() == {}, "not before so many different jobs have failed"
        pipeline.submit(f"tenant-{n}", tag="sandbox:status=500")
        if n == FAILED_JOBS_AT_LEAST // 2:
            pipeline.submit("good")

    assert set(pipeline.holds()) == {"customer_api"}


def test_fewer_failures_than_the_share_open_no_circuit(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.submission.batch.RECORD_WITHIN", 30.0)  # all of them in one record
    for n in range(FAILED_JOBS_AT_LEAST):
        pipeline.enqueue(f"tenant-{n}", tag="sandbox:status=500")
    for n in range(FAILED_JOBS_AT_LEAST * 3 // 2):
        pipeline.enqueue(f"good-{n}")
    pipeline.run()

    assert pipeline.holds() == {}


def test_jobs_that_always_fail_do_not_keep_the_others_from_being_the_probe(pipeline: Pipeline) -> None:
    """A good job behind enough persistently failing jobs to open the circuit becomes the next probe."""
    for n in range(FAILED_JOBS_AT_LEAST):  # with one more, it could be handed back untried when the circuit opens
        pipeline.enqueue(f"failing-{n}", tag="sandbox:status=500")
    pipeline.run()
    assert set(pipeline.holds()) == {"customer_api"}
    good = pipeline.enqueue("good")

    let_holds_and_backoffs_lapse(pipeline)
    probe = dispatch(pipeline)
    pipeline.run(probe)

    assert probe == [good]
    assert pipeline.job(good)["state"] == "submitted"
    assert pipeline.holds() == {}


def test_what_is_on_the_queue_when_a_hold_begins_is_put_back(pipeline: Pipeline, sandbox: Witness) -> None:
    failing = jobs_of(pipeline)
    queued = pipeline.release()
    late = pipeline.enqueue("late")
    pipeline.release()
    sandbox.faults(OUTAGES["customer_api"])
    pipeline.run(queued)
    assert pipeline.job(late)["state"] == "queued"

    dispatch(pipeline)

    assert pipeline.job(late)["state"] == "pending"
    assert states(pipeline, failing) <= {"pending", "waiting"}


@pytest.mark.parametrize(
    "fields", [{"currencyCode": "?"}, {"tag": "sandbox:status=403"}, {"tag": "sandbox:business=X"}]
)
def test_a_tenant_s_own_failures_never_open_a_circuit(pipeline: Pipeline, fields: dict[str, str]) -> None:
    for n in range(3 * FAILED_JOBS_AT_LEAST):
        pipeline.enqueue(f"tenant-{n}", **fields)
    pipeline.run()

    assert set(pipeline.holds()) <= {"brake"}


def test_invalid_links_never_open_a_circuit(pipeline: Pipeline) -> None:
    jobs = [pipeline.enqueue(f"{kind}-{n}") for kind in ("invalid", "missing") for n in range(FAILED_JOBS_AT_LEAST)]
    pipeline.run()

    assert pipeline.holds() == {}
    assert states(pipeline, jobs) == {"dead"}


def test_one_job_that_always_fails_dies_and_opens_no_circuit(pipeline: Pipeline) -> None:
    job = pipeline.submit(tag="sandbox:status=500")
    pipeline.again()

    assert pipeline.job(job)["state"] == "dead"
    assert pipeline.holds() == {}


def test_a_refused_partner_key_has_its_own_alarm_and_fails_no_job(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_of(pipeline)
    sandbox.control("api-key", accepted=False)
    pipeline.run()
    assert set(pipeline.holds()) == {"api_key"}
    assert "DEBITURA_API_KEY" in str(pipeline.ledger.value("SELECT detail FROM holds"))

    let_holds_and_backoffs_lapse(pipeline)
    pipeline.run(dispatch(pipeline))
    assert set(pipeline.holds()) == {"api_key"}

    sandbox.control("api-key", accepted=True)
    let_holds_and_backoffs_lapse(pipeline)
    pipeline.run(dispatch(pipeline))
    for _ in range(3):
        pipeline.run(dispatch(pipeline))
    assert states(pipeline, jobs) == {"submitted"}


def test_a_probe_of_the_mint_mints_although_a_token_is_cached(pipeline: Pipeline, sandbox: Witness) -> None:
    pipeline.submit("acme")
    set_hold(pipeline.ledger, HoldName.REFERRAL_API, seconds=0)
    pipeline.enqueue("acme")

    pipeline.run(dispatch(pipeline))

    assert sandbox.look("stats")["mints_by_tenant"]["acme"] == 2
    assert pipeline.holds() == {}
