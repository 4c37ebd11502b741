"""A batch of jobs in one worker child: claimed in one statement, sent concurrently, recorded as they finish.

A batch is only transport: no job waits for, fails with, or knows of the others.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection

from worker.case.encryption import key_of
from worker.debitura.judge import clean
from worker.errors import LeaseLost
from worker.ledger.database import get_engine, is_passing, run_with_retry
from worker.ledger.states import Api, AttemptOutcome, Reason, WaitReason
from worker.ledger.writer.claim import ClaimedJob, claim, renew_lease
from worker.ledger.writer.holds import is_held
from worker.ledger.writer.record import Result, Sent, dead, waiting
from worker.policy.circuit_breaker import FailureRun
from worker.policy.retry import key_trusted_for
from worker.settings import Settings
from worker.submission.attempt import Submitter
from worker.submission.decide import Decision, FleetHold
from worker.submission.recorder import Recorder, facts_of
from worker.telemetry.exception_redaction import redact_exception

log = structlog.get_logger(__name__)

#: Seconds within which a finished job is recorded.
RECORD_WITHIN = 0.1
#: Seconds between two checks, during a long batch, for a hold that another worker found.
LOOK_AT_HOLDS_EVERY = 0.25
#: Seconds that requests under way get after the worker was told to stop.
STOP_TIMEOUT = 7.0
#: Seconds for which to retry recording an answer in the ledger, unless the worker has to stop.
RECORD_TIMEOUT = 900.0


def worker_name() -> str:
    """Return this process's name for leases and attempts."""
    return f"{socket.gethostname()}:{os.getpid()}"


class BatchRunner:
    """Runs batches on this process's request threads. With the thread pool, several run at once."""

    def __init__(self, settings: Settings, *, stopping: Callable[[], float | None]) -> None:
        """`stopping` returns None, or how many seconds ago the worker was told to stop."""
        self.settings = settings
        self.stopping = stopping
        self.engine = get_engine(settings.database_url)
        self.submitter = Submitter(settings, self.engine, worker=worker_name())
        self.failures = {api: FailureRun() for api in Api}
        self.threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="request")

    def run(self, ids: Sequence[UUID]) -> int:
        """Submit those of the jobs that are still queued. Returns how many were claimed.

        Raises SQLAlchemyError if the ledger can't be reached for too long; then the dispatcher releases the ids again.
        """
        if self.stopping() is not None:
            return 0
        began = time.monotonic()
        batch = _Batch(self, began)

        def take(connection: Connection) -> list[ClaimedJob]:
            return claim(
                connection,
                ids,
                lease=batch.lease,
                worker=worker_name(),
                lease_seconds=self.settings.lease,
                key_trusted=key_trusted_for(self.settings.idempotency),
            )

        jobs = run_with_retry(
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
    """One claimed batch under way. Only the thread that runs it touches its state, except for the flags."""

    def __init__(self, runner: BatchRunner, claimed_at: float) -> None:
        self._runner = runner
        self.lease = uuid4()
        self._claimed_at = claimed_at
        self._held_until = claimed_at + runner.settings.lease
        self._open: dict[UUID, ClaimedJob] = {}
        self._finished: list[Result] = []
        self._recorded: set[UUID] = set()
        self._holds: list[FleetHold] = []
        self._lost: set[UUID] = set()
        self._send_no_more = False
        self._recorder = Recorder(runner.engine, runner.submitter, runner.failures)
        self._look_at_holds_at = claimed_at + LOOK_AT_HOLDS_EVERY
        self._give_up_at = claimed_at + 10 * runner.settings.request_timeout + 60

    def submit(self, jobs: Sequence[ClaimedJob]) -> None:
        """Send the jobs, and record each result within RECORD_WITHIN of its end."""
        answers: SimpleQueue[Decision | UUID] = SimpleQueue()
        self._open = {job.id: job for job in jobs}
        self._recorder.know(jobs)
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
                self._holds.append(answer.hold)

    def give_up(self, jobs: Sequence[ClaimedJob], error: Exception) -> None:
        """After a bug of ours ended the batch: retry later what is not recorded yet, and keep the error.

        Requests may be under way or answered, so the outcome of each of these jobs is unknown. Raises what the database
        raises; then the dispatcher takes the jobs back when their lease is over.
        """
        self._send_no_more = True
        self._open.clear()
        self._holds.clear()
        self._finished = [self._after_bug(job, error).result for job in jobs if job.id not in self._recorded]
        self._record()

    def _attempt_into(self, answers: SimpleQueue[Decision | UUID], job: ClaimedJob) -> None:
        answer: Decision | UUID = job.id
        try:
            answer = self._attempt(job)
        finally:
            # Always answer: a job without an answer would be held for ever, its lease renewed again and again.
            answers.put(answer)

    def _attempt(self, job: ClaimedJob) -> Decision | UUID:
        """Make one attempt, in a request thread. The id alone means that another worker has the job now."""

        def may_send() -> bool:
            return (
                not self._send_no_more
                and self._runner.stopping() is None
                and job.id not in self._lost
                and time.monotonic() < self._held_until
            )

        try:
            outcome = self._runner.submitter.attempt(job, lease=self.lease, may_send=may_send)
        except LeaseLost:
            return job.id
        except BaseException as error:  # noqa: BLE001 - a bug must not lose the job: it is kept with the error, and tried again
            return self._after_bug(job, error)
        if outcome.hold:
            # This concerns all jobs: send no more from here, and inform the fleet at once.
            self._send_no_more = True
        return outcome

    def _after_bug(self, job: ClaimedJob, error: BaseException) -> Decision:
        frame = error.__traceback__
        while frame and frame.tb_next:
            frame = frame.tb_next
        place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "?"
        log.error(
            "attempt_failed_by_bug", job_id=str(job.id), **facts_of(job), error=type(error).__name__, place=place
        )  # fmt: skip
        # The text helps to find the bug, but may repeat the case, which must stay unreadable if cases are encrypted.
        words = redact_exception(error) if key_of(job.case_body) else f"{type(error).__name__}: {error}"
        message = clean(f"internal error, {words}")[:1000]
        sent = Sent(job.request_count, AttemptOutcome.UNKNOWN, 0, error_type="internal_error", error_message=message)
        policy = self._runner.submitter.policy
        if policy.used_up(job.attempt_count):
            detail = {"type": "internal_error", "message": message, "attempts": job.attempt_count + 1}
            return Decision(
                dead(job.id, job.request_count, sent, reason=Reason.OUTCOME_UNKNOWN, error=message, detail=detail,
                     solution_url=None, unknown=True)
            )  # fmt: skip
        delay = policy.backoff(job.attempt_count + 1, 1.0)
        return Decision(
            waiting(
                job.id, job.request_count, sent, why=WaitReason.INTERNAL_ERROR, delay=delay, error=message,
                counts=True, unknown=True,
            )
        )  # fmt: skip

    def _look_after_lease(self, now: float) -> float:
        """Renew the lease in time; when stopping, give up slow requests. Returns seconds until the next check."""
        stopped = self._runner.stopping()
        if stopped is not None:
            if stopped > STOP_TIMEOUT:
                self._abandon("the worker was stopped before the answer came")
                return 0.0
            return 0.1
        if now > self._give_up_at:
            # Far longer than all time limits together: an answer that trickles in, or a thread that hangs.
            self._abandon("no whole answer came within any reasonable time")
            return 0.0
        if not self._send_no_more and now >= self._look_at_holds_at:
            self._look_at_holds_at = now + LOOK_AT_HOLDS_EVERY
            self._send_no_more = run_with_retry(self._runner.engine, is_held, until=lambda: True, otherwise=False)
        lease = self._runner.settings.lease
        renew_at = self._held_until - lease * 2 / 3
        if now >= renew_at:
            self._renew(lease)
            return 0.0
        return min(renew_at - now, LOOK_AT_HOLDS_EVERY)

    def _renew(self, lease: float) -> None:
        began = time.monotonic()
        ids = list(self._open)
        kept = run_with_retry(
            self._runner.engine,
            lambda connection: renew_lease(connection, ids, lease=self.lease, lease_seconds=lease),
            until=lambda: time.monotonic() > self._held_until or self._runner.stopping() is not None,
            otherwise=set(),
        )
        self._held_until = began + lease
        self._lost |= set(ids) - kept

    def _abandon(self, message: str) -> None:
        """Record requests without an answer as unknown."""
        self._send_no_more = True
        duration = int((time.monotonic() - self._claimed_at) * 1000)
        for job in self._open.values():
            sent = Sent(job.request_count, AttemptOutcome.UNKNOWN, duration, error_message=message)
            self._finished.append(
                waiting(
                    job.id,
                    job.request_count,
                    sent,
                    why=WaitReason.STOPPED,
                    delay=0.0,
                    error=message,
                    counts=True,
                    unknown=True,
                )
            )
        self._open.clear()

    def _record(self) -> None:
        """Record what has finished; see `worker.submission.recorder`."""
        results, holds = self._finished, self._holds
        self._finished, self._holds = [], []
        if self._recorder.write(results, holds, lease=self.lease, may_go_on=self._may_go_on()):
            # An API has a fault: hand back what has not left.
            self._send_no_more = True
        self._recorded.update(result.job_id for result in results)

    def _may_go_on(self) -> Callable[[], bool]:
        """Whether recording in the ledger may still be retried."""
        give_up_at = time.monotonic() + RECORD_TIMEOUT

        def may_go_on() -> bool:
            stopped = self._runner.stopping()
            return time.monotonic() < give_up_at and (stopped is None or stopped < STOP_TIMEOUT + 2)

        return may_go_on
