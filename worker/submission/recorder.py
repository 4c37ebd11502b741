"""Record a batch's results, in one transaction for all jobs that have finished."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from worker.ledger.database import is_passing, run_with_retry
from worker.ledger.states import INVALID_LINK_REASONS, Api, Reason, State
from worker.ledger.writer.brake import judge_deaths, lock_verdicts
from worker.ledger.writer.circuit_breaker import record_failures, report_api_health
from worker.ledger.writer.claim import ClaimedJob
from worker.ledger.writer.holds import hold
from worker.ledger.writer.record import Moved, Result, apply_transitions, taken_back, while_open
from worker.ledger.writer.tenant_links import free_links_of, stop_links
from worker.policy.circuit_breaker import FailureRun
from worker.submission.attempt import Submitter
from worker.submission.decide import FleetHold
from worker.submission.prepare import chance
from worker.telemetry.logging import tenant_digest
from worker.telemetry.metrics import count, definitions, observe
from worker.telemetry.tracing import trace_id_of

log = structlog.get_logger(__name__)


#: Seconds within which jobs that met an outage are pending again.
AFTER_OUTAGE = 5.0


class Recorder:
    """Writes one batch's results to the ledger."""

    def __init__(self, engine: Engine, submitter: Submitter, failures: Mapping[Api, FailureRun]) -> None:
        """`failures` is what this process has seen of each API; the recorder updates it."""
        self._engine = engine
        self._submitter = submitter
        self._failures = failures
        self._mints_before = submitter.mint.answers
        self._facts: dict[UUID, dict[str, str]] = {}

    def know(self, jobs: Sequence[ClaimedJob]) -> None:
        """Remember what the log says about these jobs besides their results."""
        self._facts = {job.id: facts_of(job) for job in jobs}

    def write(
        self, results: Sequence[Result], holds: Sequence[FleetHold], *, lease: UUID, may_go_on: Callable[[], bool]
    ) -> bool:
        """Record the results and holds; while the ledger can't be reached, retry as long as `may_go_on` returns true.

        A result that the ledger refuses for a reason of its own does not keep the others out. Returns whether an API's
        circuit is open. Raises the database's error if the ledger stayed unreachable, or refused a single result.
        """
        try:
            return self._write(results, holds, lease, may_go_on)
        except Exception as error:
            if is_passing(error) or len(results) < 2:
                raise
            log.warning("batch_recorded_one_by_one", error=type(error).__name__, jobs=len(results))
        states = [self._write([result], holds, lease, may_go_on) for result in results]
        return any(states)

    def _write(
        self, results: Sequence[Result], holds: Sequence[FleetHold], lease: UUID, may_go_on: Callable[[], bool]
    ) -> bool:
        mints_now = self._submitter.mint.answers
        mints = mints_now - self._mints_before
        final, trouble = list(results), False

        withdrawn: set[UUID] = set()
        probes: set[UUID] = set()

        def work(connection: Connection) -> dict[UUID, Moved]:
            nonlocal final, trouble, withdrawn, probes
            if any(result.state is State.DEAD for result in results):
                lock_verdicts(connection)
            final, trouble = self._record_api_faults(connection, results, mints)
            moved = apply_transitions(connection, final, lease=lease)
            withdrawn, probes = self._judge_deaths(connection, final, moved)
            report_api_health(connection, [r for r in final if r.job_id in moved], mints=mints)
            if good := [
                r.job_id for r in final if r.proves_link and r.job_id in moved and moved[r.job_id].link_stopped
            ]:
                free_links_of(connection, good)
            # A hold that says the key is refused must win over an older mint that says it works.
            for found in holds:
                ids = [result.job_id for result in final]
                hold(connection, found.name, seconds=found.seconds, detail=found.detail, jobs=ids)
            return moved

        moved = run_with_retry(self._engine, work, until=lambda: not may_go_on())
        self._mints_before = mints_now
        if withdrawn:
            log.error("deaths_withdrawn_by_brake", jobs=len(withdrawn))
        for result in final:
            if result.job_id in withdrawn:
                result = taken_back(result, State.PENDING)  # noqa: PLW2901 - it did not die after all
            elif result.job_id in probes:
                result = taken_back(result, State.HELD)  # noqa: PLW2901 - the same
            _log(result, self._facts.get(result.job_id, {}), ours=result.job_id in moved)
            if result.job_id in moved:
                count_result(result, moved[result.job_id].age)
        return trouble or bool(withdrawn)

    def _judge_deaths(
        self, connection: Connection, results: Sequence[Result], moved: Mapping[UUID, Moved]
    ) -> tuple[set[UUID], set[UUID]]:
        """Judge what these deaths say about the API and the tenants' links.

        Returns the jobs that the brake took back, and the link probes that are held again.
        """
        died = [r for r in results if r.state is State.DEAD and r.job_id in moved]
        if not died:
            return set(), set()
        withdrawn = judge_deaths(connection, [r.job_id for r in died], self._submitter.brake)
        of_link = [r.job_id for r in died if r.reason in INVALID_LINK_REASONS and r.job_id not in withdrawn]
        return withdrawn, stop_links(connection, of_link) if of_link else set()

    def _record_api_faults(
        self, connection: Connection, results: Sequence[Result], mints: int
    ) -> tuple[list[Result], bool]:
        """Count answers and failures; while a circuit is open, its failures do not count against the jobs.

        Returns the results to be recorded, and whether a circuit is open.
        """
        final, trouble = list(results), False
        answers = {Api.CUSTOMER: sum(1 for result in results if result.sent), Api.REFERRAL: mints}
        for api, run in self._failures.items():
            failed = [result for result in results if result.trouble is api]
            jobs = [result.job_id for result in failed]
            words = (failed[-1].last_error if failed else None) or ""
            now = time.monotonic()
            if not failed:
                run.note(now=now, answers=answers[api], failed=())
            elif record_failures(connection, api, jobs=jobs, answers=answers[api], run=run, now=now, detail=words):
                trouble = True
                final = [while_open(r, delay=_after_outage()) if r.trouble is api else r for r in final]
        return final, trouble


def facts_of(job: ClaimedJob) -> dict[str, str]:
    """Return what a log line says about the job's owner: the tenant's digest, and the trace if there is one."""
    trace_id = trace_id_of(job.trace_context)
    return {"tenant": tenant_digest(job.external_tenant_id)} | ({"trace_id": trace_id} if trace_id else {})


def _after_outage() -> float:
    return AFTER_OUTAGE * chance()


def _log(result: Result, known: Mapping[str, str], *, ours: bool) -> None:
    event = f"job_{result.state}" if ours else "lease_lost"
    if result.state is State.PENDING and ours:
        event = "job_withdrawn" if result.sent else "job_handed_back"
    facts = {
        "job_id": str(result.job_id),
        **known,
        "attempt": result.number,
        "http_status": result.sent.http_status if result.sent else None,
        "duration_ms": result.sent.duration_ms if result.sent else None,
        "reason": result.reason,
    }
    level = log.warning if result.state is State.DEAD or not ours else log.info
    level(event, **{name: value for name, value in facts.items() if value is not None})


def count_result(result: Result, age: float) -> None:
    """Count one recorded transition, `age` seconds after the job was enqueued."""
    if result.sent is not None:
        count(definitions.SUBMISSIONS, result.sent.outcome)
    if result.state is State.SUBMITTED:
        observe(definitions.SUBMITTED_AFTER, age)
    if result.reason is not None:
        count(definitions.DIED, result.reason)
    if result.reason is Reason.SECOND_UNAUTHORIZED:
        count(definitions.SECOND_UNAUTHORIZED, reason_of_401(result.sent.error_type if result.sent else None))


def reason_of_401(error_type: str | None) -> str:
    """Map the API's reason for a 401 to one of a few known words: it may send any text."""
    if not error_type:
        return "none_given"
    word = re.sub(r"(?<=[a-z])(?=[A-Z])|[^a-zA-Z]+", "_", error_type.strip()).lower()
    return word if word in definitions.SECOND_UNAUTHORIZED.words else "other"
