"""The invariant's own tests: it reports each history that breaks it, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.faults.invariant import LedgerJob, differences

JOB = LedgerJob("job", "acme", "key", "sha", "submitted", "submission", "case", attempts={"submission": 1})
CASE = {"id": "case", "externalTenantId": "acme", "bodySha256": "sha", "idempotencyKey": "submission"}
POST = {"idempotencyKey": "submission", "status": 200}


def changed(**fields: Any) -> LedgerJob:
    """A job that keeps the invariant, with some fields changed."""
    base = {name: getattr(JOB, name) for name in LedgerJob.__slots__}
    return LedgerJob(**(base | fields))


def dead(reason: str) -> LedgerJob:
    return changed(state="dead", case_id=None, open_reasons=(reason,))


def found(job: LedgerJob, *, cases: list[Any] | None = None, posts: list[Any] | None = None) -> list[str]:
    return differences(
        [job], [("acme", "key")], [CASE] if cases is None else cases, [POST] if posts is None else posts, []
    )


def test_given_a_job_with_its_one_case_then_all_is_well() -> None:
    assert found(JOB) == []


@pytest.mark.parametrize(
    ("story", "job", "cases", "posts"),
    [
        ("two cases for one job", JOB, [CASE, CASE | {"id": "other"}], None),
        ("submitted without a case", JOB, [], None),
        ("another case's id", changed(case_id="other"), None, None),
        ("a job that nobody moves", changed(state="queued", case_id=None), [], []),
        ("an attempt that is still open", changed(open_attempts=1), None, None),
        ("a request that the ledger does not know", changed(attempts={"submission": 1}), None, [POST, POST]),
        ("dead although it was taken", dead("validation"), None, None),
        ("dead without a letter", changed(state="dead", case_id=None), [], []),
        ("refused only once", dead("second_unauthorized"), [], [POST | {"status": 401}]),
        ("exhausted although it was taken", dead("retries_exhausted"), [], [POST]),
        ("exhausted although it may have arrived", dead("retries_exhausted"), [], [POST | {"status": None}]),
        ("unknown although nothing was sent", dead("outcome_unknown"), [], []),
        ("submitted with an open letter", changed(open_reasons=("validation",)), None, None),
        ("a case that belongs to nobody", JOB, [CASE, CASE | {"bodySha256": "else"}], None),
    ],
)
def test_given_a_story_that_breaks_it_then_it_is_reported(
    story: str, job: LedgerJob, cases: list[Any] | None, posts: list[Any] | None
) -> None:
    assert found(job, cases=cases, posts=posts), story


def test_given_a_job_that_was_enqueued_when_the_ledger_lacks_it_then_it_is_lost() -> None:
    assert differences([], [("acme", "key")], [], [], [])[0].startswith("LOST")


def test_given_a_job_in_the_ledger_twice_then_it_is_reported() -> None:
    twice = [JOB, changed(id="second", body_sha256="other", state="dead", open_reasons=("validation",))]
    assert any("TWICE" in line for line in differences(twice, [("acme", "key")], [CASE], [POST], []))


@pytest.mark.parametrize(
    ("reason", "statuses"),
    [
        ("second_unauthorized", [401, 401]),
        ("business_rule", [500, 422]),
        ("validation", [400]),
        ("retries_exhausted", [500, 503]),
        ("outcome_unknown", [500, None]),
    ],
)
def test_given_a_dead_job_when_the_record_bears_it_out_then_all_is_well(
    reason: str, statuses: list[int | None]
) -> None:
    job = changed(state="dead", case_id=None, open_reasons=(reason,), attempts={"submission": len(statuses)})
    assert found(job, cases=[], posts=[POST | {"status": status} for status in statuses]) == []
