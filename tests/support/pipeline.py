"""Take a job through its life step by step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import RowMapping, text

from tests.support.databases import Database
from tests.support.rows import NOW, ago, change_jobs, let_holds_lapse
from worker.intake.enqueue import admit, insert
from worker.ledger.database import transaction
from worker.ledger.writer import release, resolve
from worker.ledger.writer.claim import ClaimedJob, claim
from worker.policy.retry import RetryPolicy
from worker.settings import Settings
from worker.submission.batch import BatchRunner

VALID_CASE: dict[str, Any] = {
    "currencyCode": "DKK",
    "amountToRecover": 1250.5,
    "debtor": {"type": "Company", "name": "Ærøskøbing Bådebyggeri ApS", "countryAlpha2": "DK"},
}
ACTOR = resolve.Actor("test")


def a_case(**fields: Any) -> dict[str, Any]:
    """A valid case with some fields changed; None takes a field away."""
    return {k: v for k, v in (copy.deepcopy(VALID_CASE) | fields).items() if v is not None}


class Pipeline:
    """One worker process; the test acts as the dispatcher."""

    def __init__(self, settings: Settings, ledger: Database) -> None:
        self.settings = settings
        self.ledger = ledger
        self.engine = ledger.engine
        self.stopped: Callable[[], float | None] = lambda: None
        self.runner = BatchRunner(settings, stopping=self._stopping)

    def _stopping(self) -> float | None:
        return self.stopped()

    def close(self) -> None:
        self.runner.threads.shutdown()

    def enqueue(self, tenant: str = "acme", *, key: str | None = None, priority: str = "normal", **case: Any) -> UUID:
        """A valid case with these fields, in a job; each is a job of its own unless a key is given."""
        with transaction(self.engine) as connection:
            return insert(connection, admit(tenant, a_case(**case), key or str(uuid4()), priority)).id

    def release(self) -> list[UUID]:
        """Release all pending jobs to the queue, as the dispatcher does."""
        with transaction(self.engine) as connection:
            return [job.id for job in release.release(connection, room=10_000)]

    def run(self, ids: Sequence[UUID] | None = None) -> int:
        """Process the released jobs, or these, as the worker does."""
        return self.runner.run(self.release() if ids is None else ids)

    def submit(self, tenant: str = "acme", **fields: Any) -> UUID:
        """Enqueue one case and try it once."""
        job = self.enqueue(tenant, **fields)
        self.run()
        return job

    def wake(self) -> None:
        """Let time pass: waiting jobs are due, and all holds are over."""
        change_jobs(self.ledger, "waiting", due_at=NOW)
        let_holds_lapse(self.ledger)
        with transaction(self.engine) as connection:
            release.wake_due(connection)

    def again(self) -> int:
        """Let time pass, and try the waiting jobs again."""
        self.wake()
        return self.run()

    def claim(
        self, ids: Sequence[UUID], *, worker: str = "other", seconds: float = 60
    ) -> tuple[UUID, list[ClaimedJob]]:
        """Another worker's claim: its lease and its jobs."""
        lease = uuid4()
        with transaction(self.engine) as connection:
            return lease, claim(connection, ids, lease=lease, worker=worker, lease_seconds=seconds)

    def lapse(self) -> list[UUID]:
        """Let all leases expire, and reclaim their jobs."""
        change_jobs(self.ledger, "submitting", lease_until=ago("1 second"))
        with transaction(self.engine) as connection:
            expired = release.reclaim_expired(connection, policy=RetryPolicy(self.settings.max_attempts, 2, 60))
        return [job.id for job in expired]

    def replay(self, *ids: UUID) -> list[UUID]:
        """A person replays dead jobs."""
        with transaction(self.engine) as connection:
            return list(resolve.replay(connection, ids, ACTOR, {}))

    def job(self, job_id: UUID) -> RowMapping:
        """The job's row."""
        return self._rows("SELECT * FROM jobs WHERE id = :id", job_id)[0]

    def attempts(self, job_id: UUID) -> list[RowMapping]:
        """The job's attempts, in order."""
        return self._rows("SELECT * FROM attempts WHERE job_id = :id ORDER BY number", job_id)

    def letters(self, job_id: UUID) -> list[RowMapping]:
        """The job's dead letters, in order."""
        return self._rows("SELECT * FROM dead_letters WHERE job_id = :id ORDER BY id", job_id)

    def holds(self) -> dict[str, float]:
        """The holds, with the seconds that they still last."""
        found = self.ledger.rows("SELECT name, extract(epoch FROM until - now())::float8 FROM holds")
        return {str(name): float(str(seconds)) for name, seconds in found}

    def _rows(self, statement: str, job_id: UUID) -> list[RowMapping]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement), {"id": job_id}).mappings())


def refused(pipeline: Pipeline, count: int = 1, tenant: str = "acme") -> list[UUID]:
    """Jobs that the API has refused for their currency; they are dead."""
    jobs = [pipeline.enqueue(tenant, currencyCode="?", creditorReference=f"{tenant}-{n}") for n in range(count)]
    pipeline.run()
    return jobs
