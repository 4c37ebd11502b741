"""The dispatcher: a thread in every worker that gives out jobs. One leads at a time, and only for economy's sake:
every step is right with two at once, so there is no single point of failure and no beat process.

Each tick is one short transaction; publishing happens after its commit. A crash between the two leaves jobs `queued`
that nobody will claim: a later tick takes them back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from worker.ledger.database import get_engine, transaction
from worker.ledger.writer import release as ledger
from worker.ledger.writer.holds import end_lapsed_holds
from worker.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds between two looks of the leader.
TICK = 0.05
#: Seconds for which a leader leads; it says so anew each second, so another takes over within 3 s of its death.
LEADER_LEASE = 2.0
RENEW_EVERY = 1.0
#: Seconds between two tries of a follower to lead.
FOLLOW_EVERY = 0.5
#: Seconds between two looks for what was lost (unclaimed ids, expired leases).
SWEEP_EVERY = 1.0
#: Seconds to rest after the ledger or the broker could not be reached.
REST = 1.0
#: Ids on the Celery queue at most, in batches: enough to keep a fleet busy between two ticks, and little enough that
#: the order is decided late, in the ledger.
WINDOW_BATCHES = 20


class Publisher(Protocol):
    """The way to the Celery queue."""

    def publish(self, job_ids: Sequence[UUID]) -> None:
        """Send one `cases.submit` message. Raises any exception when it may not have been sent."""

    def close(self) -> None:
        """Let go of the connection; the next publish makes a new one."""


class Dispatcher:
    """One worker's dispatcher. `run` is the thread; `tick` is one look, for tests too."""

    def __init__(self, settings: Settings, publisher: Publisher, *, name: str) -> None:
        self._settings = settings
        self._publisher = publisher
        self._engine: Engine = get_engine(settings.database_url)
        self._name = name
        self._stop = threading.Event()
        self._lead_until = 0.0
        self._renew_at = 0.0
        self._sweep_at = 0.0

    def run(self, *, stopped: Callable[[], bool]) -> None:
        """Dispatch until told to stop. Trouble with the ledger or the broker is waited out, never fatal."""
        while not self._stop.is_set() and not stopped():
            try:
                pause = TICK if self._leads() else FOLLOW_EVERY
                if pause == TICK:
                    self.tick()
            except SQLAlchemyError as error:
                log.warning("dispatcher_waits_for_ledger", error=type(error).__name__, code=error.code)
                pause = REST
            except Exception as error:
                log.exception("dispatcher_failed", error=type(error).__name__)
                pause = REST
            self._stop.wait(pause)
        self._step_down()

    def stop(self) -> None:
        """End `run` at its next look."""
        self._stop.set()

    def tick(self) -> int:
        """One look: wake what is due, take back what was lost, release what has its turn. Returns how many went out."""
        settings, now = self._settings, time.monotonic()
        released: list[ledger.Released] = []
        with transaction(self._engine) as connection:
            if now >= self._sweep_at:
                self._sweep_at = now + SWEEP_EVERY
                lost = ledger.take_back_unclaimed(connection, requeue_seconds=settings.requeue)
                expired = ledger.take_back_expired(
                    connection,
                    max_attempts=settings.max_attempts,
                    retry_base=settings.retry_base,
                    retry_max=settings.retry_max,
                )
                end_lapsed_holds(connection)
                if lost or expired:
                    log.warning("jobs_taken_back", unclaimed=lost, expired=len(expired))
            ledger.wake_due(connection)
            standing = ledger.standing(connection)
            if room := self._room(standing):
                released = ledger.release(connection, room=room)
        self._publish(released)
        return len(released)

    def _room(self, standing: ledger.Standing) -> int:
        """How many jobs may go out now. The place where pace and circuits will have their say."""
        if standing.held:
            return 0
        if standing.probing:
            return 1 if standing.queued + standing.submitting == 0 else 0
        return max(0, WINDOW_BATCHES * self._settings.batch - standing.queued)

    def _publish(self, released: Sequence[ledger.Released]) -> None:
        for ids in self._messages(released):
            try:
                self._publisher.publish(ids)
            except Exception as error:
                # Whether they went out is unknown. Both are harmless: an id that is not queued is claimed by nobody.
                log.warning("publish_failed", error=type(error).__name__, jobs=len(ids))
                self._publisher.close()
                with transaction(self._engine) as connection:
                    ledger.put_back(connection, [job.id for job in released])
                raise

    def _messages(self, released: Sequence[ledger.Released]) -> Iterator[list[UUID]]:
        """One id when idle, up to a batch under backlog; a job that a worker may have died of goes alone."""
        together = [job.id for job in released if not job.alone]
        size = self._settings.batch
        yield from ([job.id] for job in released if job.alone)
        for start in range(0, len(together), size):
            yield together[start : start + size]

    def _leads(self) -> bool:
        now = time.monotonic()
        if now < self._renew_at:
            return now < self._lead_until
        with transaction(self._engine) as connection:
            leads = ledger.lead(connection, leader=self._name, lease_seconds=LEADER_LEASE)
        led = now < self._lead_until
        if leads and not led:
            log.info("dispatcher_leads", leader=self._name)
        self._lead_until = now + LEADER_LEASE if leads else 0.0
        self._renew_at = now + (RENEW_EVERY if leads else 0.0)
        return leads

    def _step_down(self) -> None:
        try:
            with transaction(self._engine) as connection:
                ledger.step_down(connection, leader=self._name)
        except SQLAlchemyError as error:
            log.warning("dispatcher_could_not_step_down", error=type(error).__name__)
        self._publisher.close()
