"""Telling an outage from a few bad jobs."""

from __future__ import annotations

from uuid import uuid4

from worker.trouble import FAILED_JOBS_AT_LEAST, FAILURE_WINDOW, FailureRun

JOBS = [uuid4() for _ in range(FAILED_JOBS_AT_LEAST)]


def test_one_job_that_fails_again_and_again_is_no_outage() -> None:
    run = FailureRun()
    for second in range(25):
        run.note(now=second, answers=1, failed=JOBS[:1])

    assert not run.widespread
    assert not run.unbroken


def test_many_jobs_that_fail_in_a_row_are_one() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=5, failed=[])
    run.note(now=1.0, answers=len(JOBS), failed=JOBS)

    assert run.unbroken
    assert run.widespread


def test_a_good_answer_in_between_breaks_the_row_but_not_the_share() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=len(JOBS) - 1, failed=JOBS[1:])
    run.note(now=1.0, answers=2, failed=JOBS[:1])

    assert run.widespread
    assert not run.unbroken


def test_failures_of_long_ago_are_forgotten() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=len(JOBS), failed=JOBS)
    run.note(now=FAILURE_WINDOW + 1, answers=1, failed=JOBS[:1])

    assert not run.widespread
    assert not run.unbroken
