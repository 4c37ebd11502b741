"""Tell an outage from a few bad jobs."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.policy.circuit_breaker import (
    FAILED_JOBS_AT_LEAST,
    FAILURE_WINDOW,
    PROBE_AT_LEAST_EVERY,
    PROBE_EVERY,
    PROBE_OFTEN_FOR,
    FailureRun,
    Seen,
    is_outage,
    probe_pause,
)

JOBS = [uuid4() for _ in range(FAILED_JOBS_AT_LEAST)]


def seen(*, answers: int = 20, failures: int = 10, jobs: int = 0, in_silence: int = 0) -> Seen:
    return Seen(FAILURE_WINDOW, answers, failures, jobs, in_silence)


def test_one_job_that_fails_again_and_again_is_no_outage() -> None:
    run = FailureRun()
    for second in range(25):
        run.note(now=second, answers=1, failed=JOBS[:1])

    assert not run.widespread
    assert not run.unbroken


def test_many_jobs_that_fail_in_a_row_are_an_outage() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=5, failed=[])
    run.note(now=1.0, answers=len(JOBS), failed=JOBS)

    assert run.unbroken
    assert run.widespread
    assert is_outage(seen(failures=0), run)


def test_a_good_answer_in_between_breaks_the_row_but_not_the_share() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=len(JOBS) - 1, failed=JOBS[1:])
    run.note(now=1.0, answers=2, failed=JOBS[:1])

    assert run.widespread
    assert not run.unbroken
    assert is_outage(seen(failures=10, answers=20), run)
    assert not is_outage(seen(failures=10, answers=21), run)


def test_failures_of_long_ago_are_forgotten() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=len(JOBS), failed=JOBS)
    run.note(now=FAILURE_WINDOW + 1, answers=1, failed=JOBS[:1])

    assert not run.widespread
    assert not run.unbroken


def test_failures_of_before_the_circuit_closed_are_forgotten() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=len(JOBS) - 1, failed=JOBS[1:])
    run.note(now=5.0, answers=1, failed=JOBS[:1], look_back=3.0)

    assert not run.widespread
    assert not run.unbroken


def test_persistently_failing_jobs_are_no_outage_however_many_they_are() -> None:
    run = FailureRun()
    run.note(now=0.0, answers=len(JOBS), failed=JOBS, persistently_failing=JOBS[1:])

    assert not run.widespread
    assert not run.unbroken
    assert not is_outage(seen(answers=10, failures=10), run)


@pytest.mark.parametrize("jobs", [0, FAILED_JOBS_AT_LEAST - 1, FAILED_JOBS_AT_LEAST])
def test_answers_that_other_processes_got_count_towards_an_outage(jobs: int) -> None:
    assert is_outage(seen(jobs=jobs), FailureRun()) == (jobs >= FAILED_JOBS_AT_LEAST)
    assert is_outage(seen(in_silence=jobs), FailureRun()) == (jobs >= FAILED_JOBS_AT_LEAST)


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_probes_become_rarer_slowly_and_never_rare(one: float, other: float) -> None:
    short, long = sorted((one, other))
    assert PROBE_EVERY <= probe_pause(short) <= probe_pause(long) <= PROBE_AT_LEAST_EVERY
    assert probe_pause(long) <= max(PROBE_EVERY, long / 150 + 1e-9), "noticed within 1/150 of how long it has lasted"
    assert probe_pause(min(long, PROBE_OFTEN_FOR)) == PROBE_EVERY
