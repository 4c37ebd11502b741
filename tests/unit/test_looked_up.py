"""After a restore a case is sent only if the API itself says that it doesn't exist."""

from __future__ import annotations

import dataclasses
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.debitura.http import Reply
from worker.debitura.judge import judge_lookup
from worker.ledger.states import Api, Reason, State, Trigger
from worker.ledger.writer.claim import ClaimedJob
from worker.policy.retry import RetryPolicy
from worker.submission.decide import after_look_up, decide_without_reference

POLICY = RetryPolicy(max_attempts=3, base=2.0, longest=60.0)
SENT = '{"amountToRecover": 1250.50, "currencyCode": "DKK", "debtor": {"name": "Anna"}}'
JOB = ClaimedJob(uuid4(), "acme", SENT, uuid4(), "INV-1", 0, 1, Trigger.RETRY, True, look_up_first=True)
CASE = (
    b'{"id": "0190a6a1-0000-7000-8000-000000000001", "reference": "ABCD1234", "grossAmount": 1250.5, "currency": "DKK",'
    b' "debtor": {"name": "ANNA "}, "dateCreated": "2026-11-27T07:00:00"}'
)


def after(status: int, body: bytes = b"{}", job: ClaimedJob = JOB):
    return after_look_up(job, judge_lookup(Reply(status, body)), POLICY, 1.0)


def test_a_case_that_is_there_is_recorded_and_nothing_was_sent() -> None:
    result = after(200, CASE)

    assert result is not None
    assert (result.state, result.sent, result.case_reference) == (State.SUBMITTED, None, "ABCD1234")


def test_a_case_that_is_not_there_may_be_sent() -> None:
    assert after(404, b'{"error": "NotFound", "message": "none"}') is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>no such host</html>"),
        (404, b""),
        (302, b""),
        (403, b"<html>"),
        (500, b""),
        (503, b""),
        (200, b"{}"),
        (408, b""),
        (409, b"{}"),
    ],
)
def test_an_answer_that_says_nothing_of_the_case_is_waited_out_with_backoff(status: int, body: bytes) -> None:
    result = after(status, body)

    assert result is not None
    assert (result.state, result.sent, result.counts, result.delay) == (State.WAITING, None, True, 2.0)
    assert result.trouble is Api.CUSTOMER


def test_a_rate_limit_is_waited_out_and_does_not_count() -> None:
    result = after(429, b'{"retryAfter": 42}')

    assert result is not None
    assert (result.state, result.counts, result.delay) == (State.WAITING, False, 42.0)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, Reason.SECOND_UNAUTHORIZED), (403, Reason.OUTCOME_UNKNOWN), (400, Reason.OUTCOME_UNKNOWN)],
)
def test_a_look_up_that_is_refused_goes_to_a_person(status: int, reason: Reason) -> None:
    result = after(status, b'{"message": "no"}')

    assert result is not None
    assert (result.state, result.reason, result.sent) == (State.DEAD, reason, None)


def test_look_ups_that_go_on_failing_go_to_a_person_as_unknown() -> None:
    result = after(500, job=dataclasses.replace(JOB, attempt_count=2))

    assert result is not None
    assert (result.state, result.reason) == (State.DEAD, Reason.OUTCOME_UNKNOWN)


def test_without_a_reference_nobody_but_a_person_can_tell() -> None:
    job = dataclasses.replace(JOB, creditor_reference=None)

    result = decide_without_reference(job).result

    assert (result.state, result.reason) == (State.DEAD, Reason.OUTCOME_UNKNOWN)
    assert "--absent" in str(result.last_error)


@given(
    status=st.integers(200, 599),
    body=st.one_of(st.binary(max_size=40), st.just(CASE), st.just(b'{"message": "m"}'), st.just(b"<html>")),
    attempts=st.integers(0, 5),
)
def test_only_a_404_of_the_api_itself_lets_it_be_sent(status: int, body: bytes, attempts: int) -> None:
    result = after(status, body, dataclasses.replace(JOB, attempt_count=attempts))

    if result is None:
        assert status == 404
        assert not body.lstrip().startswith(b"<")
    else:
        assert result.sent is None
        assert result.state in (State.SUBMITTED, State.WAITING, State.DEAD)
        assert (result.state is State.SUBMITTED) == (200 <= status < 300 and body == CASE)
