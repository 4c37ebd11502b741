"""Workers that die, lose their lease, are stopped or have a bug: no job is lost, and late results are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import pytest

from tests.support.pipeline import Pipeline
from tests.support.rows import change_jobs
from tests.support.sandbox_witness import Witness
from worker.ledger.writer.claim import ClaimedJob
from worker.submission.attempt import Submitter
from worker.submission.decide import Answer, Decision, decide
from worker.submission.send import Sender


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold each request just before it is sent, until the test releases it."""
    gate = Gate()
    original = Sender._post

    def stop_first(self: Sender, job: ClaimedJob, token: object) -> object:
        gate.reached.set()
        assert gate.open.wait(30)
        return original(self, job, token)  # type: ignore[arg-type]

    monkeypatch.setattr(Sender, "_post", stop_first)
    return gate


class Gate:
    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()


def test_a_worker_that_slept_through_its_lease_steps_back(
    pipeline: Pipeline, new_pipeline: Callable[..., Pipeline], sandbox: Witness, gate: Gate
) -> None:
    sleeper, job_id = pipeline, pipeline.enqueue()
    with ThreadPoolExecutor(1) as threads:
        asleep = threads.submit(sleeper.run)
        assert gate.reached.wait(10)
        assert pipeline.lapse() == [job_id]
        (taken_back,) = pipeline.attempts(job_id)
        assert (taken_back["outcome"], taken_back["error_type"]) == ("unknown", "lease_expired")
        pipeline.wake()
        other_lease, (other,) = pipeline.claim(pipeline.release())
        gate.open.set()
        asleep.result(10)

    job, (first, second) = pipeline.job(job_id), pipeline.attempts(job_id)
    assert (job["state"], job["lease_token"], job["lease_owner"]) == ("submitting", other_lease, "other")
    assert (first["outcome"], first["http_status"]) == ("submitted", 200), "its answer is evidence all the same"
    assert (second["number"], second["outcome"], second["trigger"]) == (2, None, "retry")
    assert other.outcome_unknown
    assert other.submission_key == first["submission_key"]


def test_whoever_takes_over_from_a_dead_worker_sends_the_same_key(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.enqueue()
    pipeline.claim(pipeline.release(), worker="the one that dies")
    pipeline.lapse()
    job = pipeline.job(job_id)
    assert (job["state"], job["attempt_count"], job["outcome_unknown"]) == ("waiting", 1, True)
    assert "the one that dies" in job["last_error"]

    pipeline.again()

    assert pipeline.job(job_id)["state"] == "submitted"
    assert [(a["outcome"], a["worker"] == "the one that dies") for a in pipeline.attempts(job_id)] == [
        ("unknown", True),
        ("submitted", False),
    ]
    assert {UUID(r["idempotencyKey"]) for r in sandbox.posts()} == {job["submission_key"]}


@pytest.mark.parametrize(("reference", "reason"), [("INV-1", None), (None, "outcome_unknown")])
def test_a_job_that_outlives_its_workers_to_the_limit_is_looked_up_and_not_sent_again(
    pipeline: Pipeline, sandbox: Witness, reference: str | None, reason: str | None
) -> None:
    job_id = pipeline.submit(creditorReference=reference, tag="sandbox:drop-after")
    for _ in range(2):
        pipeline.wake()
        pipeline.claim(pipeline.release())
        pipeline.lapse()
    pipeline.again()

    assert len(sandbox.posts()) == 1
    assert pipeline.job(job_id)["state"] == ("dead" if reason else "submitted")
    assert [letter["reason"] for letter in pipeline.letters(job_id)] == ([reason] if reason else [])


def test_a_look_up_at_the_limit_that_fails_is_made_again_later(pipeline: Pipeline, sandbox: Witness) -> None:
    job_id = pipeline.submit(creditorReference="INV-1", tag="sandbox:drop-after")
    change_jobs(pipeline.ledger, attempt_count=3)
    sandbox.fault("lookup", "status", status=503)
    pipeline.again()
    assert (pipeline.job(job_id)["state"], pipeline.job(job_id)["attempt_count"]) == ("waiting", 3)

    sandbox.faults()
    pipeline.again()
    assert pipeline.job(job_id)["state"] == "submitted"


def test_a_job_that_kills_every_worker_dies_as_outcome_unknown(pipeline: Pipeline) -> None:
    job_id = pipeline.enqueue()
    for _ in range(20):
        pipeline.wake()
        pipeline.claim(pipeline.release())
        pipeline.lapse()

    (letter,) = pipeline.letters(job_id)
    assert (pipeline.job(job_id)["state"], letter["reason"]) == ("dead", "outcome_unknown")
    assert len(pipeline.attempts(job_id)) == 3 + 4
    assert all(a["outcome"] == "unknown" for a in pipeline.attempts(job_id))


def test_a_bug_keeps_the_job_with_its_error_and_its_neighbours_go_on(
    pipeline: Pipeline, sandbox: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky, *others = [pipeline.enqueue() for _ in range(5)]
    original = Submitter.attempt

    def buggy(self: Submitter, job: ClaimedJob, **more: object) -> Decision:
        if job.id == unlucky:
            raise KeyError("nobody\x00 thought of this")
        return original(self, job, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Submitter, "attempt", buggy)
        pipeline.run()

    job, (attempt,) = pipeline.job(unlucky), pipeline.attempts(unlucky)
    assert job["state"] == "waiting"
    assert "KeyError" in job["last_error"]
    assert "nobody" in job["last_error"]
    assert (attempt["outcome"], attempt["error_type"]) == ("unknown", "internal_error")
    assert (job["outcome_unknown"], job["attempt_count"]) == (True, 1)
    assert {pipeline.job(other)["state"] for other in others} == {"submitted"}
    pipeline.again()
    assert pipeline.job(unlucky)["state"] == "submitted"


def test_a_bug_that_never_goes_away_takes_its_job_to_a_person(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: object, **__: object) -> None:
        raise KeyError("always")

    monkeypatch.setattr(Submitter, "attempt", buggy)
    job_id = pipeline.submit()
    for _ in range(5):
        pipeline.again()

    (letter,) = pipeline.letters(job_id)
    assert "KeyError" in letter["detail"]["message"]


def test_a_bug_after_the_first_401_leaves_no_attempt_open(
    pipeline: Pipeline, sandbox: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = pipeline.enqueue(tag="sandbox:401-once")

    def buggy(answer: Answer, *more: float) -> Decision:
        if answer.sent.number > 1:
            raise KeyError("in the second attempt")
        return decide(answer, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("worker.submission.attempt.decide", buggy)
    pipeline.run()

    assert pipeline.job(job_id)["state"] == "waiting"
    assert [a["outcome"] for a in pipeline.attempts(job_id)] == ["unauthorized", "unknown"]


def test_a_result_that_the_ledger_cannot_store_loses_no_job(
    pipeline: Pipeline, sandbox: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL refuses a NUL, and with it the whole statement. The neighbours get through at the latest when they
    are tried again, each in a message of its own, under the same key."""
    unlucky, *others = [pipeline.enqueue() for _ in range(5)]
    original = Submitter.attempt

    def spoil(self: Submitter, job: ClaimedJob, **more: object) -> Decision:
        outcome = original(self, job, **more)  # type: ignore[arg-type]
        return outcome if job.id != unlucky else replace(outcome, result=replace(outcome.result, case_reference="\x00"))

    monkeypatch.setattr(Submitter, "attempt", spoil)
    pipeline.run()
    pipeline.wake()
    for job_id in pipeline.release():
        pipeline.run([job_id])

    assert {pipeline.job(other)["state"] for other in others} == {"submitted"}
    job = pipeline.job(unlucky)
    assert (job["state"], job["outcome_unknown"]) == ("waiting", True)
    assert "DataError" in job["last_error"]
    assert len(sandbox.cases()) == 5


def test_a_worker_that_was_told_to_stop_claims_nothing(pipeline: Pipeline) -> None:
    job_id = pipeline.enqueue()
    pipeline.stopped = lambda: 0.0

    assert pipeline.run() == 0
    assert pipeline.job(job_id)["state"] == "queued"


def test_a_worker_that_is_told_to_stop_hands_back_what_has_not_left_and_records_what_has(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness, gate: Gate
) -> None:
    pipeline = new_pipeline(WORKER_THREADS="1")
    jobs = [pipeline.enqueue() for _ in range(5)]
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pipeline.run)
        assert gate.reached.wait(10)
        pipeline.stopped = lambda: 0.1
        gate.open.set()
        running.result(10)

    states = [pipeline.job(job)["state"] for job in jobs]
    assert (states.count("submitted"), states.count("pending")) == (1, 4)
    assert len(sandbox.cases()) == 1
    assert pipeline.ledger.value("SELECT count(*) FROM attempts WHERE outcome IS NULL") == 0


def test_an_answer_that_does_not_come_before_the_worker_must_go_is_unknown(
    pipeline: Pipeline, sandbox: Witness, gate: Gate
) -> None:
    job_id = pipeline.enqueue()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pipeline.run)
        assert gate.reached.wait(10)
        pipeline.stopped = lambda: 8.0
        running.result(10)
        gate.open.set()

    job, (attempt,) = pipeline.job(job_id), pipeline.attempts(job_id)
    assert (job["state"], job["outcome_unknown"]) == ("waiting", True)
    assert (attempt["outcome"], attempt["error_message"]) == ("unknown", job["last_error"])


def test_a_lease_is_renewed_while_a_slow_request_is_under_way(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness
) -> None:
    pipeline = new_pipeline(WORKER_LEASE_SECONDS="0.6")
    job_id = pipeline.enqueue(tag="sandbox:slow=1500")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pipeline.run)
        while not running.done():
            assert pipeline.ledger.rows("SELECT 1 FROM jobs WHERE lease_until < now()") == []
        running.result()

    assert pipeline.job(job_id)["state"] == "submitted"
    assert len(sandbox.posts()) == 1
