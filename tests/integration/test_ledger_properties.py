"""In random histories on real PostgreSQL, no job is lost, submitted twice or forgotten."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from tests.support.databases import Database
from worker.debitura.judge import Meaning, Verdict
from worker.intake.enqueue import admit, insert
from worker.ledger.database import transaction
from worker.ledger.states import INVALID_LINK_REASONS, AttemptOutcome, State
from worker.ledger.writer import release, resolve
from worker.ledger.writer.brake import accept_verdict, judge_deaths, release_brake
from worker.ledger.writer.claim import ClaimedJob, FirstUnauthorized, claim, open_second_attempt
from worker.ledger.writer.record import Result, Sent, apply_transitions, requeued
from worker.ledger.writer.tenant_links import (
    free_links,
    free_links_of,
    free_stragglers,
    hold_stragglers,
    probe_links,
    stop_links,
)
from worker.policy.brake import BrakePolicy
from worker.policy.retry import RetryPolicy
from worker.submission.decide import NoResponse, Outcome, after

POLICY = RetryPolicy(max_attempts=3, base=1.0, longest=10.0)
ACTOR = resolve.Actor("test")
BRAKE = BrakePolicy(jobs=3, tenants=2)

#: What a worker may hear, and what that makes of "a case of ours may exist": True, False, or None for no news.
HEARD: dict[str, tuple[Outcome, bool | None]] = {
    "200": (Verdict(Meaning.SUBMITTED, 200, case_id="c", decides=True), False),
    "422": (Verdict(Meaning.REFUSED, 422, reason="business_rule", decides=True), False),
    "403": (Verdict(Meaning.REFUSED, 403, reason="forbidden"), None),
    "401": (Verdict(Meaning.UNAUTHORIZED, 401), None),
    "409": (Verdict(Meaning.CONFLICT, 409), True),
    "429": (Verdict(Meaning.RATE_LIMITED, 429, retry_after=5), None),
    "500": (Verdict(Meaning.SERVER_ERROR, 500), True),
    "503": (Verdict(Meaning.SERVER_ERROR, 503), True),
    "unusable": (Verdict(Meaning.UNUSABLE, 200, reason="unexpected_response"), True),
    "lost": (NoResponse(arrived=True, message="lost"), True),
    "not sent": (NoResponse(arrived=False, message="no connection"), None),
}

EVERYTHING = """
    SELECT j.*,
           (SELECT count(*) FROM dead_letters WHERE job_id = j.id AND resolved_at IS NULL) AS open_letters,
           (SELECT COALESCE(max(number), 0) FROM attempts WHERE job_id = j.id) AS newest,
           (SELECT array_agg(number) FROM attempts WHERE job_id = j.id AND outcome IS NULL) AS open_attempts
    FROM jobs j
"""


def some(state: str) -> Any:
    """Run this rule only if a job is in that state."""
    return precondition(lambda self: state in self.states.values())


class History(RuleBasedStateMachine):
    """Web apps, dispatchers, workers, crashes and people, in any order."""

    def __init__(self, ledger: Database) -> None:
        super().__init__()
        self.engine = ledger.engine
        self.keys: dict[UUID, UUID] = {}
        self.states: dict[UUID, str] = {}
        self.may_exist: dict[UUID, bool] = {}
        self.final: dict[UUID, tuple[Any, ...]] = {}
        self.messages: list[list[UUID]] = []
        self.claims: dict[UUID, tuple[UUID, ClaimedJob]] = {}
        """The newest lease on each job."""
        self.old_claims: list[tuple[UUID, ClaimedJob]] = []
        self.given_back: set[tuple[UUID, UUID]] = set()
        """Leases whose holder has reported that it sent nothing."""

    def do(self, work: Any) -> Any:
        with transaction(self.engine) as connection:
            return work(connection)

    def one(self, data: Any, state: str) -> UUID:
        return UUID(str(data.draw(st.sampled_from(sorted(job for job, s in self.states.items() if s == state)))))

    @initialize()
    def empty(self) -> None:
        self.do(
            lambda c: c.execute(
                text("TRUNCATE jobs, attempts, dead_letters, holds, case_versions, tenant_links, accepted_verdicts")
            )
        )
        self.enqueue("a", "normal")

    @rule(tenant=st.sampled_from("ab"), priority=st.sampled_from(["high", "normal"]))
    def enqueue(self, tenant: str, priority: str) -> None:
        job = admit(tenant, {"debtor": {}}, str(len(self.keys)), priority)
        job_id = self.do(lambda c: insert(c, job)).id
        self.keys[job_id] = self.row(job_id).submission_key
        self.may_exist[job_id] = False

    @some("pending")
    @rule(room=st.integers(1, 5))
    def dispatch(self, room: int) -> None:
        self.messages.append([job.id for job in self.do(lambda c: release.release(c, room=room))])

    @some("queued")
    @rule(data=st.data())
    def deliver(self, data: Any) -> None:
        wanted = self.one(data, "queued")
        self.claim(next(message for message in reversed(self.messages) if wanted in message))

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def deliver_once_more(self, data: Any) -> None:
        self.claim(data.draw(st.sampled_from(self.messages)))

    def claim(self, ids: list[UUID]) -> None:
        lease = uuid4()
        queued = {job_id for job_id in ids if self.states[job_id] == "queued"}
        jobs = self.do(lambda c: claim(c, ids, lease=lease, worker="w", lease_seconds=60))
        assert {job.id for job in jobs} == queued
        assert all(job.submission_key == self.keys[job.id] for job in jobs)
        assert all(job.outcome_unknown for job in jobs if self.may_exist[job.id])
        for job in jobs:
            if job.id in self.claims:
                self.old_claims.append(self.claims[job.id])
            self.claims[job.id] = (lease, job)

    @some("submitting")
    @rule(data=st.data(), what=st.sampled_from([*sorted(HEARD), "nothing was sent"]))
    def hear(self, data: Any, what: str) -> None:
        self.answer(self.one(data, "submitting"), what)

    def answer(self, job_id: UUID, what: str) -> None:
        lease, job = self.claims[job_id]
        if what == "nothing was sent":
            self.given_back.add((lease, job_id))
            self.put(lease, requeued(job.id, job.request_count))
            return
        heard, news = HEARD[what]
        sent = Sent(job.request_count, AttemptOutcome.UNKNOWN, 1)
        self.put(lease, after(job, job.request_count, sent, heard, POLICY, 0.5))
        self.may_exist[job.id] = self.may_exist[job.id] if news is None else news

    @some("pending")
    @rule(data=st.data())
    def a_batch_runs(self, data: Any) -> None:
        """Release, claim and record without a failure, so that histories make progress."""
        self.dispatch(3)
        self.states |= dict.fromkeys(self.messages[-1], "queued")
        self.claim(self.messages[-1])
        for job_id in self.messages[-1]:
            self.answer(job_id, data.draw(st.sampled_from([*sorted(HEARD), "nothing was sent"])))

    @some("submitting")
    @rule(data=st.data(), what=st.sampled_from(["200", "401", "lost"]))
    def hear_after_401(self, data: Any, what: str) -> None:
        """A first 401, and the outcome of the second request."""
        lease, job = self.claims[self.one(data, "submitting")]
        first = FirstUnauthorized(job.request_count, None, None, 1, "f", "cached")
        number = self.do(lambda c: open_second_attempt(c, job.id, first, lease=lease, worker="w"))
        assert number == job.request_count + 1
        heard, news = HEARD[what]
        self.put(lease, after(job, number, Sent(number, AttemptOutcome.UNKNOWN, 1), heard, POLICY, 0.5))
        self.may_exist[job.id] = self.may_exist[job.id] if news is None else news

    @precondition(lambda self: self.old_claims)
    @rule(data=st.data(), what=st.sampled_from(["200", "422", "lost", "nothing"]))
    def hear_too_late(self, data: Any, what: str) -> None:
        """A worker records after its lease expired, even if another worker holds the job."""
        lease, job = data.draw(st.sampled_from(self.old_claims))
        what = "nothing" if (lease, job.id) in self.given_back else what
        sent, number = Sent(job.request_count, AttemptOutcome.UNKNOWN, 1), job.request_count
        first = FirstUnauthorized(number, None, None, 1, "f", "cached")
        assert self.do(lambda c: open_second_attempt(c, job.id, first, lease=lease, worker="w")) is None
        result = (
            requeued(job.id, number) if what == "nothing" else after(job, number, sent, HEARD[what][0], POLICY, 0.5)
        )
        assert self.do(lambda c: apply_transitions(c, [result], lease=lease)).keys() == set()

    def put(self, lease: UUID, result: Result) -> None:
        """Record a result as the recorder does: with what it says of the API and of the tenant's link."""

        def record(connection: Any) -> set[UUID]:
            moved = apply_transitions(connection, [result], lease=lease)
            assert moved.keys() == {result.job_id}
            withdrawn: set[UUID] = set()
            if result.state is State.DEAD:
                withdrawn = judge_deaths(connection, [result.job_id], BRAKE)
                if result.reason in INVALID_LINK_REASONS and result.job_id not in withdrawn:
                    stop_links(connection, [result.job_id])
            if result.proves_link and moved[result.job_id].link_stopped:
                free_links_of(connection, [result.job_id])
            return withdrawn

        for job_id in self.do(record):
            row = self.row(job_id)
            assert row.state == "pending"
            renewed = row.submission_key
            assert (renewed == self.keys[job_id]) == row.outcome_unknown, "a stored refusal needs a new key"
            self.keys[job_id] = renewed

    @some("held")
    @rule(data=st.data())
    def the_link_is_good_again(self, data: Any) -> None:
        tenant = self.row(self.one(data, "held")).external_tenant_id
        assert self.do(lambda c: free_links(c, [tenant])) >= 1

    @some("held")
    @rule()
    def probe_the_links(self) -> None:
        self.do(lambda c: c.execute(text("UPDATE tenant_links SET probe_at = now()")))
        assert self.do(probe_links)

    @some("held")
    @rule(data=st.data())
    def discard_held(self, data: Any) -> None:
        job_id = self.one(data, "held")
        assert self.do(lambda c: resolve.discard(c, [job_id], ACTOR, {})) == [job_id]

    @rule(accept=st.booleans())
    def answer_the_brake(self, accept: bool) -> None:
        self.do(lambda c: accept_verdict(c, ACTOR) if accept else release_brake(c, ACTOR))

    @rule()
    def sweep(self) -> None:
        self.do(hold_stragglers)
        self.do(free_stragglers)

    @some("submitting")
    @rule()
    def crash(self) -> None:
        """Every worker dies or loses its lease; requests may have been sent."""
        self.do(
            lambda c: c.execute(text("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE state = 'submitting'"))
        )
        taken = [job.id for job in self.do(lambda c: release.reclaim_expired(c, policy=RetryPolicy(3, 1, 9)))]
        assert set(taken) == {job for job, state in self.states.items() if state == "submitting"}
        self.may_exist |= dict.fromkeys(taken, True)

    @some("queued")
    @rule()
    def lose_messages(self) -> None:
        self.do(lambda c: release.reclaim_unclaimed(c, requeue_seconds=-1))

    @some("queued")
    @rule(data=st.data())
    def fail_to_publish(self, data: Any) -> None:
        ids = data.draw(st.sampled_from(self.messages))
        self.do(lambda c: release.requeue_unpublished(c, ids))

    @some("waiting")
    @rule()
    def time_passes(self) -> None:
        self.do(lambda c: c.execute(text("UPDATE jobs SET due_at = now() WHERE state = 'waiting'")))
        self.do(release.wake_due)

    @some("dead")
    @rule(data=st.data())
    def replay(self, data: Any) -> None:
        job_id = self.one(data, "dead")
        assert self.do(lambda c: resolve.replay(c, [job_id], ACTOR, {})) == [job_id]
        renewed = self.row(job_id).submission_key
        if self.may_exist[job_id]:
            assert renewed == self.keys[job_id], "a case may exist under the old key"
        else:
            assert renewed != self.keys[job_id], "the API would answer the old key with the stored refusal"
        self.keys[job_id] = renewed

    @some("dead")
    @rule(data=st.data())
    def discard(self, data: Any) -> None:
        job_id = self.one(data, "dead")
        assert self.do(lambda c: resolve.discard(c, [job_id], ACTOR, {})) == [job_id]

    def row(self, job_id: UUID) -> Any:
        return self.do(lambda c: c.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id}).one())

    @invariant()
    def no_job_is_lost_or_forgotten(self) -> None:
        if not self.keys:
            return
        rows = {row.id: row for row in self.do(lambda c: c.execute(text(EVERYTHING)).all())}
        stopped = set(self.do(lambda c: c.execute(text("SELECT external_tenant_id FROM tenant_links")).scalars()))
        self.states = {job_id: row.state for job_id, row in rows.items()}
        assert rows.keys() == self.keys.keys()
        for job_id, row in rows.items():
            assert row.submission_key == self.keys[job_id], "a key changes only by a replay after a known outcome"
            assert row.open_letters == (row.state == "dead")
            assert row.state != "held" or row.external_tenant_id in stopped, (
                "a held job waits for a link that was found invalid"
            )
            assert row.open_attempts == ([row.request_count] if row.state == "submitting" else None)
            assert row.newest == row.request_count
            assert row.lease_token == (self.claims[job_id][0] if row.state == "submitting" else None)
            if row.state != "submitted":
                assert row.outcome_unknown or not self.may_exist[job_id], "what may exist is never forgotten"
            if row.state in ("submitted", "discarded"):
                assert self.final.setdefault(job_id, tuple(row)) == tuple(row), "final states never change"
            assert job_id not in self.final or row.state in ("submitted", "discarded")


@pytest.mark.timeout(900)  # a history that fails is made as short as can be, which takes its time
def test_in_no_history_is_a_job_lost_doubled_or_forgotten(ledger: Database) -> None:
    run_state_machine_as_test(
        lambda: History(ledger),
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
