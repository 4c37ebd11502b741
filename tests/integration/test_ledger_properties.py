"""Whatever happens in whatever order, no job is lost, doubled or forgotten: random histories over real PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

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
from sqlalchemy import Connection, text

from tests.databases import Database
from worker.debitura.judge import Meaning, Verdict
from worker.decide import Heard, RetryPolicy, Silence, after
from worker.enqueue import admit, insert
from worker.ledger.database import transaction
from worker.ledger.states import AttemptOutcome
from worker.ledger.writer import release, resolve
from worker.ledger.writer.claim import ClaimedJob, FirstUnauthorized, claim, open_second_attempt
from worker.ledger.writer.record import Result, Sent, handed_back, record

POLICY = RetryPolicy(max_attempts=3, base=1.0, longest=10.0)
ACTOR = resolve.Actor("test")

#: What a worker may hear, and what that makes of "a case of ours may exist": True, False, or None for no news.
HEARD: dict[str, tuple[Heard, bool | None]] = {
    "200": (Verdict(Meaning.SUBMITTED, 200, case_id="c", decides=True), False),
    "422": (Verdict(Meaning.REFUSED, 422, reason="business_rule", decides=True), False),
    "403": (Verdict(Meaning.REFUSED, 403, reason="forbidden"), None),
    "401": (Verdict(Meaning.UNAUTHORIZED, 401), None),
    "409": (Verdict(Meaning.CONFLICT, 409), None),
    "429": (Verdict(Meaning.RATE_LIMITED, 429, retry_after=5), None),
    "500": (Verdict(Meaning.SERVER_ERROR, 500), True),
    "503": (Verdict(Meaning.SERVER_ERROR, 503), None),
    "unusable": (Verdict(Meaning.UNUSABLE, 200, reason="unexpected_response"), True),
    "lost": (Silence(arrived=True, message="lost"), True),
    "not sent": (Silence(arrived=False, message="no connection"), None),
}
#: More often than by chance: what keeps a history going.
LIVELY = [*sorted(HEARD), "lost", "500", "503", "409"]

EVERYTHING = """
    SELECT j.*,
           (SELECT count(*) FROM dead_letters WHERE job_id = j.id AND resolved_at IS NULL) AS open_letters,
           (SELECT COALESCE(max(number), 0) FROM attempts WHERE job_id = j.id) AS newest,
           (SELECT array_agg(number) FROM attempts WHERE job_id = j.id AND outcome IS NULL) AS open_attempts
    FROM jobs j
"""


class History(RuleBasedStateMachine):
    """Web apps, dispatchers, workers, crashes and people, in any order."""

    def __init__(self, ledger: Database) -> None:
        super().__init__()
        self.engine = ledger.engine
        self.ledger = ledger
        self.keys: dict[UUID, UUID] = {}
        self.may_exist: dict[UUID, bool] = {}
        self.final: dict[UUID, tuple[Any, ...]] = {}
        self.messages: list[list[UUID]] = []
        self.claims: list[tuple[UUID, ClaimedJob]] = []

    def do(self, work: Any) -> Any:
        with transaction(self.engine) as connection:
            return work(connection)

    @initialize()
    def empty(self) -> None:
        self.do(lambda c: c.execute(text("TRUNCATE jobs, attempts, dead_letters, audit_log, holds")))

    @rule(tenant=st.sampled_from("ab"), priority=st.sampled_from(["high", "normal"]))
    def enqueue(self, tenant: str, priority: str) -> None:
        job = admit(tenant, {"debtor": {}}, str(len(self.keys)), priority)
        job_id = self.do(lambda c: insert(c, job)).id
        self.keys[job_id] = self.row(job_id).submission_key
        self.may_exist[job_id] = False

    @rule(room=st.integers(1, 5))
    def dispatch(self, room: int) -> None:
        released = [job.id for job in self.do(lambda c: release.release(c, room=room))]
        if released:
            self.messages.append(released)

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def deliver(self, data: Any) -> None:
        """A message arrives, for the first time or once more."""
        ids, lease = data.draw(st.sampled_from(self.messages)), uuid4()
        queued = {job_id for job_id in ids if self.row(job_id).state == "queued"}
        jobs = self.do(lambda c: claim(c, ids, lease=lease, worker="w", lease_seconds=60))
        assert {job.id for job in jobs} == queued
        assert all(job.submission_key == self.keys[job.id] for job in jobs)
        assert all(job.outcome_unknown for job in jobs if self.may_exist[job.id])
        self.claims += [(lease, job) for job in jobs]

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), what=st.sampled_from(LIVELY))
    def hear(self, data: Any, what: str) -> None:
        """A worker records what it heard, in time or too late."""
        lease, job = data.draw(st.sampled_from(self.claims))
        heard, news = HEARD[what]
        sent = Sent(job.request_count, AttemptOutcome.UNKNOWN, 1)
        if self.put(lease, after(job, job.request_count, sent, heard, POLICY)) and news is not None:
            self.may_exist[job.id] = news

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), what=st.sampled_from(["200", "401", "lost"]))
    def hear_after_401(self, data: Any, what: str) -> None:
        """The first 401, and what came of the second request."""
        lease, job = data.draw(st.sampled_from(self.claims))
        first = FirstUnauthorized(job.request_count, None, None, 1, "f", "cached")
        ours = self.row(job.id).lease_token == lease and self.row(job.id).request_count == job.request_count
        number = self.do(lambda c: open_second_attempt(c, job.id, first, lease=lease, worker="w"))
        assert (number is not None) == ours
        if number is not None:
            heard, news = HEARD[what]
            sent = Sent(number, AttemptOutcome.UNKNOWN, 1)
            assert self.put(lease, after(job, number, sent, heard, POLICY))
            self.may_exist[job.id] = self.may_exist[job.id] if news is None else news

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def hand_back(self, data: Any) -> None:
        lease, job = data.draw(st.sampled_from(self.claims))
        self.put(lease, handed_back(job.id, job.request_count))

    def put(self, lease: UUID, result: Result) -> bool:
        """Record; only who holds the lease moves the job."""
        held = self.row(result.job_id).lease_token == lease
        moved = self.do(lambda c: record(c, [result], lease=lease, minted=False))
        assert moved == ({result.job_id} if held else set())
        return held

    @rule()
    def crash(self) -> None:
        """Every worker dies or sleeps too long; requests may have left."""
        lapsed = {r.id for r in self.rows("UPDATE jobs SET lease_until = now() - interval '1 s'"
                                          " WHERE state = 'submitting' RETURNING id")}  # fmt: skip
        taken = self.do(lambda c: release.take_back_expired(c, max_attempts=3, retry_base=1, retry_max=9))
        assert set(taken) == lapsed
        self.may_exist |= dict.fromkeys(taken, True)

    @rule()
    def lose_messages(self) -> None:
        self.do(lambda c: release.take_back_unclaimed(c, requeue_seconds=-1))

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def fail_to_publish(self, data: Any) -> None:
        ids = data.draw(st.sampled_from(self.messages))
        self.do(lambda c: release.put_back(c, ids))

    @rule()
    def time_passes(self) -> None:
        self.rows("UPDATE jobs SET due_at = now() WHERE state = 'waiting' RETURNING id")
        self.do(release.wake_due)

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), discard=st.booleans())
    def a_person_acts(self, data: Any, discard: bool) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.keys)))
        dead = self.row(job_id).state == "dead"
        act = resolve.discard if discard else resolve.replay
        acted = self.do(lambda c: act(c, [job_id], ACTOR, {}))
        assert acted == ([job_id] if dead else [])
        if acted and not discard:
            renewed = self.row(job_id).submission_key
            if self.may_exist[job_id]:
                assert renewed == self.keys[job_id], "a case may exist under the old key"
            else:
                assert renewed != self.keys[job_id], "the API would answer the old key with the stored refusal"
            self.keys[job_id] = renewed

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        def work(connection: Connection) -> list[Any]:
            return list(connection.execute(text(statement), parameters))

        return list(self.do(work))

    def row(self, job_id: UUID) -> Any:
        (row,) = self.rows("SELECT * FROM jobs WHERE id = :id", id=job_id)
        return row

    @invariant()
    def no_job_is_lost_or_forgotten(self) -> None:
        rows = {row.id: row for row in self.rows(EVERYTHING)}
        assert rows.keys() == self.keys.keys()
        for job_id, row in rows.items():
            assert row.submission_key == self.keys[job_id], "a key changes only by a replay after a known outcome"
            assert row.open_letters == (row.state == "dead")
            assert row.open_attempts == ([row.request_count] if row.state == "submitting" else None)
            assert row.newest == row.request_count
            if row.state != "submitted":
                assert row.outcome_unknown or not self.may_exist[job_id], "what may exist is never forgotten"
            if row.state in ("submitted", "discarded"):
                assert self.final.setdefault(job_id, tuple(row)) == tuple(row), "final states never change"
            assert job_id not in self.final or row.state in ("submitted", "discarded")


def test_in_no_history_is_a_job_lost_doubled_or_forgotten(ledger: Database) -> None:
    run_state_machine_as_test(
        lambda: History(ledger),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
