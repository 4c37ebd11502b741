"""Every transition changes only jobs in the state that it expects."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection

from tests.support.pipeline import ACTOR, Pipeline
from tests.support.rows import NOW, ago, change_job, change_jobs
from worker.ledger.database import transaction
from worker.ledger.states import AttemptOutcome, Reason, TokenSource, WaitReason
from worker.ledger.writer import release, resolve
from worker.ledger.writer.claim import FirstUnauthorized, claim, open_second_attempt, renew_lease
from worker.ledger.writer.record import Result, Sent, apply_transitions, dead, requeued, submitted, waiting
from worker.policy.retry import RetryPolicy

STATES = ["pending", "waiting", "queued", "submitting", "submitted", "dead", "discarded"]


@pytest.fixture
def job_in(pipeline: Pipeline) -> Callable[[str], UUID]:
    """Bring a job into a state by its normal transitions."""

    def make(state: str) -> UUID:
        if state in ("submitted", "dead", "discarded", "waiting"):
            tag = {"dead": "sandbox:status=403", "discarded": "sandbox:status=403", "waiting": "sandbox:status=503"}
            job_id = pipeline.submit(tag=tag.get(state))
            if state == "discarded":
                with transaction(pipeline.engine) as connection:
                    resolve.discard(connection, [job_id], ACTOR, {})
        else:
            job_id = pipeline.enqueue()
            if state != "pending":
                ids = pipeline.release()
                if state == "submitting":
                    pipeline.claim(ids)
        assert pipeline.job(job_id)["state"] == state
        return job_id

    return make


def run(pipeline: Pipeline, work: Callable[[Connection], Any]) -> Any:
    with transaction(pipeline.engine) as connection:
        return work(connection)


LEASE = uuid4()
TRANSITIONS: dict[str, tuple[str, Callable[[Connection, UUID], Any]]] = {
    "claim": ("queued", lambda c, j: claim(c, [j], lease=LEASE, worker="w", lease_seconds=9)),
    "replay": ("dead", lambda c, j: resolve.replay(c, [j], ACTOR, {})),
    "discard": ("dead", lambda c, j: resolve.discard(c, [j], ACTOR, {})),
    "release": ("pending", lambda c, _: release.release(c, room=10)),
    "wake_due": ("waiting", lambda c, _: release.wake_due(c)),
    "take_back_unclaimed": ("queued", lambda c, _: release.reclaim_unclaimed(c, requeue_seconds=-1)),
    "put_back": ("queued", lambda c, j: release.requeue_unpublished(c, [j])),
    "take_back_expired": (
        "submitting",
        lambda c, _: release.reclaim_expired(c, policy=RetryPolicy(3, 1, 2)),
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", sorted(TRANSITIONS))
def test_a_transition_moves_only_jobs_in_the_state_that_it_expects(
    pipeline: Pipeline, job_in: Callable[[str], UUID], name: str, state: str
) -> None:
    expected, work = TRANSITIONS[name]
    job_id = job_in(state)
    change_jobs(pipeline.ledger, "waiting", due_at=NOW)
    change_jobs(pipeline.ledger, "submitting", lease_until=ago("1 s"))
    before = dict(pipeline.job(job_id))

    result = run(pipeline, lambda connection: work(connection, job_id))

    if state == expected:
        assert pipeline.job(job_id)["state"] != state
    else:
        assert not result
        assert dict(pipeline.job(job_id)) == before


def results_for(job_id: UUID, number: int = 1) -> dict[str, Result]:
    sent = Sent(number, AttemptOutcome.REFUSED, 5, 403, "t", "m", "f" * 16, TokenSource.CACHED)
    return {
        "submitted": submitted(job_id, number, sent, case_id=str(uuid4()), case_reference="R"),
        "waiting": waiting(job_id, number, sent, why=WaitReason.BACKOFF, delay=9, error="e", counts=True, unknown=None),
        "handed back": requeued(job_id, number),
        "dead": dead(
            job_id, number, sent, reason=Reason.FORBIDDEN, error="e", detail={}, solution_url=None, unknown=None
        ),
    }


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", ["submitted", "waiting", "handed back", "dead"])
def test_a_late_record_moves_nothing(pipeline: Pipeline, job_in: Callable[[str], UUID], kind: str, state: str) -> None:
    """A worker without the lease is too late, even if the job is `submitting` for another worker."""
    job_id = job_in(state)
    before, letters = dict(pipeline.job(job_id)), pipeline.letters(job_id)
    result = results_for(job_id)[kind]

    moved = run(pipeline, lambda connection: apply_transitions(connection, [result], lease=uuid4())).keys()

    assert moved == set()
    assert dict(pipeline.job(job_id)) == before
    assert pipeline.letters(job_id) == letters


def test_a_late_record_takes_away_nobody_s_open_attempt(pipeline: Pipeline) -> None:
    job_id = pipeline.enqueue()
    pipeline.claim(pipeline.release())

    run(pipeline, lambda connection: apply_transitions(connection, [requeued(job_id, 1)], lease=uuid4()))

    assert [a["outcome"] for a in pipeline.attempts(job_id)] == [None]


@pytest.mark.parametrize(
    ("kind", "state"),
    [("submitted", "submitted"), ("waiting", "waiting"), ("handed back", "pending"), ("dead", "dead")],
)
def test_the_holder_of_the_lease_records_once(pipeline: Pipeline, kind: str, state: str) -> None:
    job_id = pipeline.enqueue()
    lease, _ = pipeline.claim(pipeline.release())
    result = results_for(job_id)[kind]

    moved = [run(pipeline, lambda c: apply_transitions(c, [result], lease=lease)).keys() for _ in range(2)]

    assert moved == [{job_id}, set()], "a record whose answer was lost may be made again"
    assert pipeline.job(job_id)["state"] == state
    assert len(pipeline.letters(job_id)) == (kind == "dead")
    assert len(pipeline.attempts(job_id)) == (kind != "handed back")


def test_handing_back_forgets_nothing(pipeline: Pipeline) -> None:
    job_id = pipeline.submit(tag="sandbox:drop-before")
    pipeline.wake()
    before = pipeline.job(job_id)
    lease, _ = pipeline.claim(pipeline.release())
    run(pipeline, lambda c: apply_transitions(c, [requeued(job_id, 2)], lease=lease))

    after = pipeline.job(job_id)
    assert {name for name in before if before[name] != after[name]} == set()
    assert after["outcome_unknown"] is True


def test_a_claim_opens_an_attempt_for_each_job_and_answers_in_turn_order(pipeline: Pipeline) -> None:
    low, high, second, first = (
        pipeline.enqueue("a", priority="low"), pipeline.enqueue("b", priority="high"),
        pipeline.enqueue("c"), pipeline.enqueue("d"),
    )  # fmt: skip
    change_job(pipeline.ledger, first, created_at=ago("1 hour"))
    ids = pipeline.release()
    lease, jobs = pipeline.claim(sorted(ids))

    assert ids == [job.id for job in jobs] == [high, first, second, low]
    for job_id in ids:
        (attempt,) = pipeline.attempts(job_id)
        assert (attempt["number"], attempt["outcome"], attempt["worker"]) == (1, None, "other")
        assert pipeline.job(job_id)["lease_token"] == lease


def test_two_workers_with_the_same_message_share_its_jobs_without_overlap(pipeline: Pipeline) -> None:
    for _ in range(60):
        pipeline.enqueue()
    ids = pipeline.release()

    with ThreadPoolExecutor(4) as threads:
        claims = list(threads.map(lambda _: pipeline.claim(ids)[1], range(4)))
    taken = [job.id for jobs in claims for job in jobs]
    assert sorted(taken) == sorted(ids)


def test_two_dispatchers_at_once_release_each_job_once(pipeline: Pipeline) -> None:
    for _ in range(100):
        pipeline.enqueue()

    def dispatch(_: int) -> list[UUID]:
        return run(pipeline, lambda c: [job.id for job in release.release(c, room=40)])

    with ThreadPoolExecutor(4) as threads:
        released = [job for jobs in threads.map(dispatch, range(4)) for job in jobs]
    while more := dispatch(0):  # who came second to a job went away with less
        released += more
    assert len(released) == len(set(released)) == 100


def test_a_lease_is_renewed_only_for_its_holder(pipeline: Pipeline) -> None:
    job_id = pipeline.enqueue()
    lease, _ = pipeline.claim(pipeline.release(), seconds=1)
    until = pipeline.job(job_id)["lease_until"]

    assert run(pipeline, lambda c: renew_lease(c, [job_id], lease=uuid4(), lease_seconds=99)) == set()
    assert pipeline.job(job_id)["lease_until"] == until
    assert run(pipeline, lambda c: renew_lease(c, [job_id], lease=lease, lease_seconds=99)) == {job_id}
    assert (pipeline.job(job_id)["lease_until"] - until).total_seconds() > 90


@pytest.mark.parametrize(("ours", "number", "opened"), [(True, 1, 2), (False, 1, None), (True, 7, None)])
def test_a_second_attempt_is_opened_only_under_the_lease_and_after_the_first(
    pipeline: Pipeline, ours: bool, number: int, opened: int | None
) -> None:
    job_id = pipeline.enqueue()
    lease, _ = pipeline.claim(pipeline.release())
    first = FirstUnauthorized(number, None, "no", 5, "f" * 16, "cached")

    got = run(pipeline, lambda c: open_second_attempt(c, job_id, first, lease=lease if ours else uuid4(), worker="w"))

    assert got == opened
    outcomes = [a["outcome"] for a in pipeline.attempts(job_id)]
    assert outcomes == (["unauthorized", None] if opened else [None])


def test_each_person_s_act_is_audited_in_the_same_transaction(
    pipeline: Pipeline, job_in: Callable[[str], UUID]
) -> None:
    replayed, discarded = job_in("dead"), job_in("dead")
    actor = resolve.Actor("ada", note="signed by now")
    run(pipeline, lambda c: resolve.replay(c, [replayed, uuid4()], actor, {"via": "test"}))
    run(pipeline, lambda c: resolve.discard(c, [discarded], actor, {"via": "test"}))

    entries = pipeline.ledger.rows("SELECT actor, action, job_id, note, detail->>'via' FROM audit_log ORDER BY id")
    assert entries == [
        ("ada", "replay", replayed, "signed by now", "test"),
        ("ada", "discard", discarded, "signed by now", "test"),
    ]
    (letter,) = pipeline.letters(discarded)
    assert (letter["resolution"], letter["resolved_by"], letter["note"]) == ("discarded", "ada", "signed by now")


def test_two_people_at_once_replay_a_job_once(pipeline: Pipeline, job_in: Callable[[str], UUID]) -> None:
    job_id = job_in("dead")
    with ThreadPoolExecutor(4) as threads:
        acted = [id_ for ids in threads.map(lambda _: pipeline.replay(job_id), range(4)) for id_ in ids]

    assert acted == [job_id]
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log") == 1
