"""A 429 holds the whole fleet and counts as no attempt; a refused API key kills no job."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.pipeline import Pipeline
from tests.support.rows import set_hold
from tests.support.sandbox_witness import Witness
from worker.ledger.database import transaction
from worker.ledger.writer.holds import API_KEY_HOLD, HoldName, end_lapsed_holds


@pytest.fixture
def one_at_a_time(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """A worker with one request thread."""
    return new_pipeline(WORKER_THREADS="1")


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [({"retryAfter": 42.0}, 42), ({"retryAfter": "soon"}, 60), ({"retryAfter": -1}, 60), ({}, 60)],
    ids=str,
)
def test_a_429_holds_the_fleet_for_as_long_as_it_asks(
    pipeline: Pipeline, sandbox: Witness, answer: dict[str, object], seconds: float
) -> None:
    sandbox.faults({"endpoint": "cases", "kind": "retry-after", **answer})
    job_id = pipeline.submit()

    assert pipeline.holds() == {"rate_limit": pytest.approx(seconds, abs=5)}
    job, (attempt,) = pipeline.job(job_id), pipeline.attempts(job_id)
    assert (job["state"], job["attempt_count"], job["outcome_unknown"]) == ("waiting", 0, False)
    assert (job["due_at"] - attempt["finished_at"]).total_seconds() == pytest.approx(seconds, abs=5)
    assert (attempt["outcome"], attempt["http_status"]) == ("rate_limited", 429)


def test_what_has_not_left_yet_is_handed_back_as_if_it_had_never_been_claimed(
    one_at_a_time: Pipeline, sandbox: Witness
) -> None:
    sandbox.fault("cases", "retry-after", retryAfter=42.0)
    jobs = [one_at_a_time.enqueue() for _ in range(40)]
    one_at_a_time.run()

    states = [one_at_a_time.job(job)["state"] for job in jobs]
    sent = len(sandbox.posts())
    assert sent <= 20, "one request, and at most those that were leaving before the news had gone round"
    assert (states.count("waiting"), states.count("pending")) == (sent, 40 - sent)
    for job_id in jobs[sent:]:
        job = one_at_a_time.job(job_id)
        assert (job["attempt_count"], job["request_count"], job["next_trigger"]) == (0, 0, "initial")
        assert one_at_a_time.attempts(job_id) == []


def test_no_number_of_429s_uses_up_the_attempts(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.fault("cases", "retry-after", retryAfter=1)
    job_id = pipeline.submit()
    for _ in range(5):
        pipeline.again()
    sandbox.faults()
    pipeline.again()

    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["attempt_count"]) == ("submitted", 1)
    assert len({r["idempotencyKey"] for r in sandbox.posts()}) == 1


def test_a_job_that_is_handed_back_often_uses_up_no_attempts(pipeline: Pipeline, sandbox: Witness) -> None:
    """A job claimed and requeued many times during holds sent nothing, so it uses up no attempts."""
    sandbox.control("api-key", accepted=False)
    job_id = pipeline.submit()
    for _ in range(40):  # more than UNCOUNTED_FACTOR · max_attempts
        pipeline.again()
    sandbox.control("api-key", accepted=True)
    sandbox.faults({"endpoint": "cases", "kind": "status", "status": 503, "times": 1})
    pipeline.again()

    job = pipeline.job(job_id)
    assert (job["state"], job["attempt_count"], job["request_count"]) == ("waiting", 1, 1)
    pipeline.again()
    assert pipeline.job(job_id)["state"] == "submitted"
    assert [a["number"] for a in pipeline.attempts(job_id)] == [1, 2]


def test_a_429_of_the_mint_holds_the_fleet(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.fault("token", "retry-after", retryAfter=7.0)
    job_id = pipeline.submit()

    assert pipeline.holds() == {"mint_rate_limit": pytest.approx(7, abs=3)}
    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["attempt_count"]) == ("waiting", 0)
    assert (pipeline.attempts(job_id), sandbox.posts()) == ([], [])


def test_a_refused_api_key_kills_nothing_and_when_it_works_again_all_are_submitted(
    pipeline: Pipeline, sandbox: Witness
) -> None:
    sandbox.control("api-key", accepted=False)
    jobs = [pipeline.enqueue(f"tenant-{n}") for n in range(20)]
    for _ in range(5):
        pipeline.again()

    assert pipeline.holds() == {"api_key": pytest.approx(API_KEY_HOLD, abs=5)}
    assert {pipeline.job(job)["state"] for job in jobs} <= {"pending", "waiting"}
    assert {pipeline.job(job)["attempt_count"] for job in jobs} == {0}
    assert pipeline.ledger.value("SELECT count(*) FROM dead_letters") == 0
    assert sandbox.posts() == []
    sandbox.control("api-key", accepted=True)
    pipeline.again()
    assert {pipeline.job(job)["state"] for job in jobs} == {"submitted"}
    assert pipeline.holds() == {}, "a mint has worked, so the key is good"
    assert len(sandbox.cases()) == 20


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_api_key_counts_no_attempt_of_a_job_that_got_a_401(
    pipeline: Pipeline, sandbox: Witness, status: int
) -> None:
    pipeline.submit()
    sandbox.control("revoke-tokens")
    sandbox.fault("token", "status", status=status)
    job_id = pipeline.submit()

    job = pipeline.job(job_id)
    assert (job["state"], job["attempt_count"], job["next_trigger"]) == ("waiting", 0, "unauthorized_retry")
    assert "DEBITURA_API_KEY" in job["last_error"]
    assert "sandbox-partner-key" not in job["last_error"]
    sandbox.faults()
    pipeline.again()
    assert pipeline.job(job_id)["state"] == "submitted"


def test_a_longer_hold_is_not_cut_short_by_a_shorter_one(pipeline: Pipeline) -> None:
    for seconds in (100, 10):
        set_hold(pipeline.ledger, HoldName.RATE_LIMIT, seconds)

    assert pipeline.holds() == {"rate_limit": pytest.approx(100, abs=5)}


def test_lapsed_holds_go_but_a_circuit_s_stays_until_a_probe_succeeds(pipeline: Pipeline) -> None:
    for name in HoldName:
        set_hold(pipeline.ledger, name, seconds=-1)
    with transaction(pipeline.engine) as connection:
        end_lapsed_holds(connection)

    assert set(pipeline.holds()) == {"api_key", "customer_api", "referral_api", "brake"}
    pipeline.submit()
    assert set(pipeline.holds()) == {"customer_api", "brake"}, "a mint has worked; this job was no probe"


def test_after_the_clock_was_set_back_no_hold_lasts_longer_than_it_was_to_last(pipeline: Pipeline) -> None:
    set_hold(pipeline.ledger, HoldName.CUSTOMER_API, seconds=2)
    set_hold(pipeline.ledger, HoldName.RATE_LIMIT, seconds=42)
    pipeline.ledger.rows("UPDATE holds SET since = since + interval '3 hours', until = until + interval '3 hours'")

    with transaction(pipeline.engine) as connection:
        end_lapsed_holds(connection)

    assert pipeline.holds() == {"customer_api": pytest.approx(10, abs=2), "rate_limit": pytest.approx(42, abs=2)}


def test_a_hold_says_since_when_it_lasts(pipeline: Pipeline) -> None:
    def since(seconds: float) -> object:
        set_hold(pipeline.ledger, HoldName.RATE_LIMIT, seconds)
        return pipeline.ledger.value("SELECT since FROM holds")

    first = since(100)
    assert since(200) == first
    pipeline.wake()  # it is over now, and the next one is another
    assert since(100) != first
