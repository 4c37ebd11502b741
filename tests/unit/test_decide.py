"""From an outcome to the job's next state, as a table and as properties."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.debitura.judge import Meaning, Verdict
from worker.ledger.states import AttemptOutcome, Reason, State, Trigger
from worker.ledger.writer.claim import ClaimedJob
from worker.ledger.writer.record import Sent
from worker.policy.retry import UNCOUNTED_FACTOR, RetryPolicy
from worker.submission.decide import NoResponse, Outcome, after, may_exist, needs_lookup

POLICY = RetryPolicy(max_attempts=5, base=2.0, longest=60.0)
JOB = ClaimedJob(UUID(int=1), "acme", "{}", UUID(int=2), "INV-1", 0, 1, Trigger.INITIAL, outcome_unknown=False)
SENT = Sent(1, AttemptOutcome.UNKNOWN, 12)
NOT_SENT = NoResponse(arrived=False, message="no connection")
LOST = NoResponse(arrived=True, message="no answer")

CREATED = Verdict(Meaning.SUBMITTED, 200, case_id="c", case_reference="r", decides=True)
UNUSABLE = Verdict(Meaning.UNUSABLE, 200, reason="unexpected_response", message="?")
REFUSED = Verdict(Meaning.REFUSED, 422, reason="business_rule", error_type="NoPartnerAvailable", decides=True)
FORBIDDEN = Verdict(Meaning.REFUSED, 403, reason="forbidden")
DUPLICATE = Verdict(Meaning.REFUSED, 422, reason="business_rule", error_type="DuplicateReference", decides=True)
UNAUTHORIZED = Verdict(Meaning.UNAUTHORIZED, 401)
CONFLICT = Verdict(Meaning.CONFLICT, 409)
LIMITED = Verdict(Meaning.RATE_LIMITED, 429, retry_after=42.0)
TROUBLE = Verdict(Meaning.SERVER_ERROR, 500)
UNAVAILABLE = Verdict(Meaning.SERVER_ERROR, 503)

W, D, S = State.WAITING, State.DEAD, State.SUBMITTED


@pytest.mark.parametrize(
    ("heard", "before", "state", "counts", "reason", "unknown"),
    [
        (CREATED, False, S, True, None, False),
        (CREATED, True, S, True, None, False),
        (REFUSED, False, D, True, Reason.BUSINESS_RULE, False),
        (REFUSED, True, D, True, Reason.BUSINESS_RULE, False),
        (FORBIDDEN, False, D, True, Reason.FORBIDDEN, False),
        (FORBIDDEN, True, D, True, Reason.FORBIDDEN, True),
        (DUPLICATE, False, D, True, Reason.BUSINESS_RULE, False),
        (DUPLICATE, True, D, True, Reason.OUTCOME_UNKNOWN, True),
        (UNAUTHORIZED, False, D, True, Reason.SECOND_UNAUTHORIZED, False),
        (UNAUTHORIZED, True, D, True, Reason.SECOND_UNAUTHORIZED, True),
        (CONFLICT, False, W, False, None, True),
        (CONFLICT, True, W, False, None, True),
        (LIMITED, False, W, False, None, False),
        (LIMITED, True, W, False, None, True),
        (TROUBLE, False, W, True, None, True),
        (TROUBLE, True, W, True, None, True),
        (UNAVAILABLE, False, W, True, None, True),
        (UNAVAILABLE, True, W, True, None, True),
        (UNUSABLE, False, W, True, None, True),
        (NOT_SENT, False, W, True, None, False),
        (NOT_SENT, True, W, True, None, True),
        (LOST, False, W, True, None, True),
    ],
)
def test_every_outcome_leads_to_its_state_and_reason(
    heard: Outcome, before: bool, state: State, counts: bool, reason: Reason | None, unknown: bool
) -> None:
    result = after(replace(JOB, outcome_unknown=before), 1, SENT, heard, POLICY, chance=0.5)

    assert (result.state, result.counts, result.reason) == (state, counts, reason)
    assert result.outcome_unknown is unknown
    assert (result.job_id, result.number, result.sent) == (JOB.id, 1, SENT)


@pytest.mark.parametrize(
    ("heard", "before", "reason"),
    [
        (TROUBLE, False, Reason.RETRIES_EXHAUSTED),
        (UNAVAILABLE, False, Reason.RETRIES_EXHAUSTED),
        (UNUSABLE, False, Reason.UNEXPECTED_RESPONSE),
        (NOT_SENT, False, Reason.RETRIES_EXHAUSTED),
        (NOT_SENT, True, Reason.OUTCOME_UNKNOWN),
        (LOST, False, Reason.OUTCOME_UNKNOWN),
    ],
)
def test_a_job_at_its_attempt_limit_dies_with_its_reason(heard: Outcome, before: bool, reason: Reason) -> None:
    job = replace(JOB, attempt_count=4, outcome_unknown=before)

    result = after(job, 1, SENT, heard, POLICY, chance=0.5)

    assert (result.state, result.reason) == (State.DEAD, reason)
    assert result.detail["attempts"] == 5
    assert result.last_error


@pytest.mark.parametrize("heard", [CONFLICT, LIMITED])
def test_answers_of_409_and_429_are_retried_even_at_the_attempt_limit(heard: Verdict) -> None:
    at_the_limit = replace(JOB, attempt_count=4)
    assert after(at_the_limit, 1, SENT, heard, POLICY, 0.5).state is State.WAITING


@pytest.mark.parametrize(("heard", "reason"), [(CONFLICT, Reason.OUTCOME_UNKNOWN), (LIMITED, Reason.RETRIES_EXHAUSTED)])
def test_a_job_dies_after_too_many_uncounted_requests(heard: Verdict, reason: Reason) -> None:
    stubborn = replace(JOB, uncounted_requests=UNCOUNTED_FACTOR * 5)
    assert after(stubborn, 1, SENT, heard, POLICY, 0.5).reason is reason


@pytest.mark.parametrize("heard", [CONFLICT, LIMITED])
def test_requests_of_an_outage_or_before_a_replay_do_not_count_as_uncounted_requests(heard: Verdict) -> None:
    often_a_probe = replace(JOB, request_count=10_000)
    assert after(often_a_probe, 1, SENT, heard, POLICY, 0.5).state is State.WAITING


def test_a_429_waits_as_long_as_the_api_asked() -> None:
    assert after(JOB, 1, SENT, LIMITED, POLICY, chance=0.0).delay == 42.0


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_409_is_tried_again_soon_but_not_at_once(chance: float) -> None:
    assert 1.0 <= after(JOB, 1, SENT, CONFLICT, POLICY, chance).delay <= 3.0


@pytest.mark.parametrize(
    ("solution", "signing", "link"),
    [
        ("https://a", "https://b", "https://a"),
        (None, "https://b", "https://b"),
        (None, None, None),
    ],
)
def test_a_refusal_keeps_everything_and_links_to_its_solution(
    solution: str | None, signing: str | None, link: str | None
) -> None:
    verdict = replace(REFUSED, message="m", fields={"a": ["b"]}, solution_url=solution, combined_signing_url=signing)

    result = after(JOB, 1, SENT, verdict, POLICY, 0.5)

    assert result.solution_url == link
    assert result.last_error == "422 NoPartnerAvailable: m"
    assert result.detail == verdict.detail()


@pytest.mark.parametrize(
    ("heard", "job", "wanted"),
    [
        (DUPLICATE, JOB, False),
        (DUPLICATE, replace(JOB, outcome_unknown=True), True),
        (DUPLICATE, replace(JOB, outcome_unknown=True, creditor_reference=None), False),
        (UNUSABLE, JOB, True),
        (UNUSABLE, replace(JOB, creditor_reference=None), False),
        (LOST, JOB, False),
        (LOST, replace(JOB, attempt_count=4), True),
        (TROUBLE, replace(JOB, attempt_count=4), True),
        (NOT_SENT, replace(JOB, attempt_count=4), False),
        (NOT_SENT, replace(JOB, attempt_count=4, outcome_unknown=True), True),
        (UNAVAILABLE, replace(JOB, attempt_count=4), True),
        (CREATED, replace(JOB, outcome_unknown=True, attempt_count=4), False),
        (REFUSED, replace(JOB, outcome_unknown=True, attempt_count=4), False),
    ],
)
def test_a_case_is_looked_up_only_if_it_may_exist(heard: Outcome, job: ClaimedJob, wanted: bool) -> None:
    assert needs_lookup(job, heard, POLICY) is wanted


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.001, 1000), st.floats(0.001, 1e6))
def test_backoff_is_within_bounds(attempts: int, chance: float, base: float, longest: float) -> None:
    assert (
        0
        <= RetryPolicy(12, base, longest).backoff(attempts, chance)
        <= min(longest, base * 2.0 ** min(attempts - 1, 900))
    )


@given(st.integers(1, 200), st.floats(0, 1))
def test_the_ceiling_of_backoff_only_grows(attempts: int, chance: float) -> None:
    assert POLICY.backoff(attempts + 1, chance) >= POLICY.backoff(attempts, chance)
    assert POLICY.backoff(attempts, chance) <= POLICY.backoff(attempts, 1.0)


def test_backoff_doubles_up_to_the_longest() -> None:
    assert [POLICY.backoff(n, 1.0) for n in range(1, 8)] == [2, 4, 8, 16, 32, 60, 60]
    assert POLICY.backoff(3, 0.0) == 0


@given(st.integers(0, 30), st.integers(1, 200))
def test_the_limit_is_reached_by_the_attempt_under_way(attempts: int, requests: int) -> None:
    job = replace(JOB, attempt_count=attempts, request_count=requests)
    assert POLICY.used_up(job.attempt_count) is (attempts + 1 >= 5)


EVENTS: dict[str, tuple[Outcome, bool | None]] = {
    # What was heard, and what it makes of "a case of ours may exist": True, False, or None for no news.
    "lost": (LOST, True), "500": (TROUBLE, True), "unusable": (UNUSABLE, True), "503": (UNAVAILABLE, True),
    "not sent": (NOT_SENT, None), "409": (CONFLICT, True), "429": (LIMITED, None), "401": (UNAUTHORIZED, None),
    "403": (FORBIDDEN, None), "422": (REFUSED, False), "200": (CREATED, False),
}  # fmt: skip


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12), st.integers(0, 6))
def test_a_request_that_may_have_arrived_is_remembered_until_an_answer_decides(names: list[str], attempts: int) -> None:
    job, expected = replace(JOB, attempt_count=attempts), False
    for name in names:
        heard, news = EVENTS[name]
        expected = expected if news is None else news

        assert may_exist(job, heard) is expected
        result = after(job, 1, SENT, heard, POLICY, 0.5)
        assert result.outcome_unknown is expected
        job = replace(job, outcome_unknown=expected)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=5))
def test_after_a_lost_request_a_duplicate_reference_is_never_called_somebody_else_s(names: list[str]) -> None:
    job = JOB
    for name in ["lost", *names]:
        job = replace(job, outcome_unknown=may_exist(job, EVENTS[name][0]))

    if job.outcome_unknown:
        assert needs_lookup(job, DUPLICATE, POLICY)
        assert after(job, 1, SENT, DUPLICATE, POLICY, 0.5).reason is Reason.OUTCOME_UNKNOWN
