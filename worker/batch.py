"""A batch of jobs in one worker child: claimed in one statement, sent concurrently, recorded as they finish.

A batch is transport only: no job waits for, fails with, or knows of its neighbours.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection

from worker.debitura.judge import clean
from worker.errors import LeaseLost
from worker.ledger.database import get_engine, insist, is_passing
from worker.ledger.states import Api, AttemptOutcome, Reason, State
from worker.ledger.writer.claim import ClaimedJob, claim, renew_lease
from worker.ledger.writer.holds import hold, mind_failures
from worker.ledger.writer.record import Result, Sent, dead, record, waiting, while_open
from worker.settings import Settings
from worker.submit import FleetHold, Outcome, Submitter
from worker.trouble import FailureRun

log = structlog.get_logger(__name__)

#: Seconds after which a finished job is recorded at the latest.
RECORD_WITHIN = 0.1
#: Seconds that requests under way get after the worker was told to stop.
STOP_PATIENCE = 7.0
#: Seconds for which the ledger is asked again to take an answer that is in hand, unless the worker has to stop.
RECORD_PATIENCE = 900.0
#: Seconds within which jobs that met an outage come back to the queue of the pending, when it is over or not.
AFTER_OUTAGE = 5.0


def worker_name() -> str:
    """Names this process in leases and attempts."""
    return f"{socket.gethostname()}:{os.getpid()}"


class BatchRunner:
    """Runs batches on this process's request threads. With the thread pool, several run at once."""

    def __init__(self, settings: Settings, *, stopping: Callable[[], float | None]) -> None:
        """`stopping` answers None, or how many seconds ago the worker was told to stop."""
        self.settings = settings
        self.stopping = stopping
        self.engine = get_engine(settings.database_url)
        self.submitter = Submitter(settings, self.engine, worker=worker_name())
        self.failures = {api: FailureRun() for api in Api}
        self.threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="request")

    def run(self, ids: Sequence[UUID]) -> int:
        """Submit those of the jobs that are still queued. Returns how many were claimed.

        Raises SQLAlchemyError when the ledger stays out of reach; then the dispatcher gives the ids out again.
        """
        if self.stopping() is not None:
            return 0
        began = time.monotonic()
        batch = _Batch(self, began)

        def take(connection: Connection) -> list[ClaimedJob]:
            return claim(connection, ids, lease=batch.lease, worker=worker_name(), lease_seconds=self.settings.lease)

        jobs = insist(
            self.engine,
            take,
            until=lambda: time.monotonic() > began + self.settings.requeue or self.stopping() is not None,
        )
        try:
            batch.submit(jobs)
        except Exception as error:
            if is_passing(error):
                raise
            batch.give_up(jobs, error)
        return len(jobs)


class _Batch:
    """One claimed batch on its way. Only the thread that runs it touches its state, but for the flags."""

    def __init__(self, runner: BatchRunner, claimed_at: float) -> None:
        self._runner = runner
        self.lease = uuid4()
        self._held_until = claimed_at + runner.settings.lease
        self._open: dict[UUID, ClaimedJob] = {}
        self._finished: list[Result] = []
        self._recorded: set[UUID] = set()
        self._holds: list[FleetHold] = []
        self._lost: set[UUID] = set()
        self._send_no_more = False
        self._minted_before = runner.submitter.tokens.mints

    def submit(self, jobs: Sequence[ClaimedJob]) -> None:
        """Send them, and record what became of each, at the latest RECORD_WITHIN after it finished."""
        answers: SimpleQueue[Outcome | UUID] = SimpleQueue()
        self._open = {job.id: job for job in jobs}
        for job in jobs:
            self._runner.threads.submit(self._attempt_into, answers, job)
        record_at = float("inf")
        while self._open or self._finished:
            now = time.monotonic()
            if not self._open or now >= record_at or self._holds:
                self._record()
                record_at = float("inf")
                continue
            try:
                answer = answers.get(timeout=max(0.0, min(record_at - now, self._look_after_lease(now))))
            except Empty:
                continue
            if isinstance(answer, UUID):
                self._open.pop(answer, None)
                self._recorded.add(answer)
                continue
            if self._open.pop(answer.result.job_id, None):
                self._finished.append(answer.result)
                record_at = min(record_at, time.monotonic() + RECORD_WITHIN)
            if answer.hold:
                # It concerns everybody: nothing more leaves from here, and the fleet is told at once.
                self._send_no_more = True
                self._holds.append(answer.hold)

    def give_up(self, jobs: Sequence[ClaimedJob], error: Exception) -> None:
        """A bug of ours ended the batch: what is not recorded yet is tried again later, with the error kept.

        Requests may be under way or answered, so each of these jobs' outcomes is unknown. Raises what the database
        raises; then the dispatcher takes the jobs back when their lease is over.
        """
        self._send_no_more = True
        self._open.clear()
        self._holds.clear()
        self._finished = [self._after_bug(job, error).result for job in jobs if job.id not in self._recorded]
        self._record()

    def _attempt_into(self, answers: SimpleQueue[Outcome | UUID], job: ClaimedJob) -> None:
        answer: Outcome | UUID = job.id
        try:
            answer = self._attempt(job)
        finally:
            # Whatever happened: a job that nobody answers for would be held, its lease renewed, for ever.
            answers.put(answer)

    def _attempt(self, job: ClaimedJob) -> Outcome | UUID:
        """In a request thread: one attempt. The id alone means that somebody else has the job now."""

        def may_send() -> bool:
            return (
                not self._send_no_more
                and self._runner.stopping() is None
                and job.id not in self._lost
                and time.monotonic() < self._held_until
            )

        try:
            return self._runner.submitter.attempt(job, lease=self.lease, may_send=may_send)
        except LeaseLost:
            return job.id
        except BaseException as error:  # noqa: BLE001 - a bug must not lose the job: it is kept with the error, and tried again
            return self._after_bug(job, error)

    def _after_bug(self, job: ClaimedJob, error: BaseException) -> Outcome:
        frame = error.__traceback__
        while frame and frame.tb_next:
            frame = frame.tb_next
        place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "?"
        log.error("attempt_failed_by_bug", job_id=str(job.id), error=type(error).__name__, place=place)
        message = clean(f"internal error, {type(error).__name__}: {error}")[:1000]
        sent = Sent(job.request_count, AttemptOutcome.UNKNOWN, 0, error_type="internal_error", error_message=message)
        policy = self._runner.submitter.policy
        if policy.used_up(job):
            detail = {"type": "internal_error", "message": message, "attempts": job.attempt_count + 1}
            return Outcome(
                dead(job.id, job.request_count, sent, reason=Reason.OUTCOME_UNKNOWN, error=message, detail=detail,
                     solution_url=None, unknown=True)
            )  # fmt: skip
        delay = policy.backoff(job.attempt_count + 1, 1.0)
        return Outcome(waiting(job.id, job.request_count, sent, delay=delay, error=message, counts=True, unknown=True))

    def _look_after_lease(self, now: float) -> float:
        """Renew the lease in time, give up what takes too long when stopping. Returns seconds until the next look."""
        stopped = self._runner.stopping()
        if stopped is not None:
            if stopped > STOP_PATIENCE:
                self._abandon()
                return 0.0
            return 0.1
        lease = self._runner.settings.lease
        renew_at = self._held_until - lease * 2 / 3
        if now >= renew_at:
            self._renew(lease)
            return 0.0
        return min(renew_at - now, 0.5)

    def _renew(self, lease: float) -> None:
        began = time.monotonic()
        ids = list(self._open)
        kept = insist(
            self._runner.engine,
            lambda connection: renew_lease(connection, ids, lease=self.lease, lease_seconds=lease),
            until=lambda: time.monotonic() > self._held_until or self._runner.stopping() is not None,
            otherwise=set(),
        )
        self._held_until = began + lease
        self._lost |= set(ids) - kept

    def _abandon(self) -> None:
        """The worker must go: requests without an answer are recorded as what they are, unknown."""
        self._send_no_more = True
        message = "the worker was stopped before the answer came"
        for job in self._open.values():
            sent = Sent(job.request_count, AttemptOutcome.UNKNOWN, int(STOP_PATIENCE * 1000), error_message=message)
            self._finished.append(
                waiting(job.id, job.request_count, sent, delay=0.0, error=message, counts=True, unknown=True)
            )
        self._open.clear()

    def _mind_trouble(self, connection: Connection, results: Sequence[Result], mints: int) -> list[Result]:
        """Note answers and failures; while a circuit is open, its failures cost the jobs nothing."""
        final = list(results)
        answers = {Api.CUSTOMER: sum(1 for result in results if result.sent), Api.REFERRAL: mints}
        for api in Api:
            failed = [result for result in results if result.trouble is api]
            count = answers[api] + (len(failed) if api is Api.REFERRAL else 0)
            run = self._runner.failures[api]
            run.note(now=time.monotonic(), answers=count, failed=[result.job_id for result in failed])
            if not failed:
                continue
            jobs = [result.job_id for result in failed]
            if mind_failures(connection, api, jobs=jobs, run=run, detail=failed[-1].last_error or ""):
                self._send_no_more = True
                final = [while_open(r, delay=_after_outage()) if r.trouble is api else r for r in final]
        return final

    def _record(self) -> None:
        results, holds = self._finished, self._holds
        self._finished, self._holds = [], []
        mints = self._runner.submitter.tokens.mints
        give_up_at = time.monotonic() + RECORD_PATIENCE

        def write(connection: Connection) -> set[UUID]:
            # A hold that says the key is refused must win over an older mint that says it works.
            minted = mints - self._minted_before
            final = self._mind_trouble(connection, results, minted)
            answers = sum(1 for result in results if result.sent)
            moved = record(connection, final, lease=self.lease, minted=minted > 0, answers=answers)
            ids = [result.job_id for result in final]
            for found in holds:
                hold(connection, found.name, seconds=found.seconds, detail=found.detail, jobs=ids)
            results[:] = final
            return moved

        def give_up() -> bool:
            stopped = self._runner.stopping()
            return time.monotonic() > give_up_at or (stopped is not None and stopped > STOP_PATIENCE + 2)

        moved = insist(self._runner.engine, write, until=give_up)
        self._minted_before = mints
        self._recorded.update(result.job_id for result in results)
        for result in results:
            _log(result, ours=result.job_id in moved)


def _after_outage() -> float:
    return AFTER_OUTAGE * random.random()  # noqa: S311 - jitter is no secret


def _log(result: Result, *, ours: bool) -> None:
    event = f"job_{result.state}" if ours else "job_moved_by_another"
    if result.state is State.PENDING and ours:
        event = "job_handed_back"
    facts = {
        "job_id": str(result.job_id),
        "attempt": result.number,
        "http_status": result.sent.http_status if result.sent else None,
        "duration_ms": result.sent.duration_ms if result.sent else None,
        "reason": result.reason,
    }
    level = log.warning if result.state is State.DEAD or not ours else log.info
    level(event, **{name: value for name, value in facts.items() if value is not None})
