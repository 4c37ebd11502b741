"""The dispatcher: a thread in every worker that releases jobs. One leads at a time, but only to save work: every step
is safe with two at once, so there is no single point of failure and no beat process.

Each tick is one short transaction; publishing happens after its commit. A crash between the two leaves jobs `queued`
that no worker will claim: a later tick takes them back.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from worker.dispatch.retention import NightlyPurge
from worker.errors import CaseWorkerError
from worker.ledger.database import get_engine, sqlstate, transaction
from worker.ledger.states import Api, AttemptOutcome, Priority, Reason
from worker.ledger.writer import release as ledger
from worker.ledger.writer.holds import (
    end_lapsed_holds,
    forget_past_holds,
    note_published,
    note_unpublished,
    start_probe,
)
from worker.ledger.writer.pace import lock_for_release, read_in_turn, roll_up, take, use
from worker.ledger.writer.reconcile import mark_old_keys
from worker.ledger.writer.release_past_capped import TenantScan, release_past_capped
from worker.ledger.writer.reseal import wake_decryptable
from worker.ledger.writer.tenant_links import free_orphans, free_stragglers, hold_stragglers, probe_links
from worker.policy.rate_limit import Pace
from worker.policy.retry import RetryPolicy, key_trusted_for
from worker.settings import Settings
from worker.telemetry.logging import tenant_digest
from worker.telemetry.metrics import count, definitions, observe

log = structlog.get_logger(__name__)

#: Seconds between two ticks of the leader.
TICK = 0.05
#: Seconds that a leader's lease lasts; it is renewed each second, so another takes over within 3 s of its death.
LEADER_LEASE = 2.0
RENEW_EVERY = 1.0
#: Seconds between two tries of a follower to lead.
FOLLOW_EVERY = 0.5
#: Seconds between two checks for what was lost (unclaimed ids, expired leases).
SWEEP_EVERY = 1.0
#: Seconds to wait after the ledger or the broker could not be reached.
REST = 1.0
#: The most ids on the Celery queue, in batches: enough to keep a fleet busy between two ticks.
QUEUE_BATCHES = 20
#: The most seconds of work on the Celery queue while the pace binds, so that the order is decided late, in the ledger.
QUEUE_SECONDS = 1.0
#: Seconds between two merges of the pace's old counts.
ROLL_UP_EVERY = 60.0
#: Shares of all releases that go to a lower priority first, however much of a higher one is waiting.
LOWER_SHARES = {Priority.NORMAL: 0.1, Priority.LOW: 0.05}


class NotPublished(CaseWorkerError):
    """The broker could not be reached: the jobs are pending again, and another dispatcher may try."""


class Publisher(Protocol):
    """The connection to the Celery queue."""

    def publish(self, job_ids: Sequence[UUID]) -> None:
        """Send one `cases.submit` message. Raises any exception if it may not have been sent."""

    def close(self) -> None:
        """Close the connection; the next publish opens another one."""


class Dispatcher:
    """One worker's dispatcher. `run` is the thread; `tick` is one pass, also for tests."""

    def __init__(
        self, settings: Settings, publisher: Publisher, *, name: str, may_begin: Callable[[], bool] = lambda: True
    ) -> None:
        """`may_begin` says whether the ledger may be used; it is called before each tick, so it must be quick."""
        self._settings = settings
        self._policy = RetryPolicy(settings.max_attempts, settings.retry_base, settings.retry_max)
        self._may_begin = may_begin
        self._publisher = publisher
        self._engine: Engine = get_engine(settings.database_url)
        self._name = name
        self._stop = threading.Event()
        self._lead_until = 0.0
        self._renew_at = 0.0
        self._sweep_at = 0.0
        self._roll_up_at = 0.0
        self._pace = Pace.parse(settings.rate_limits)
        self._queue_depth = min(
            QUEUE_BATCHES * settings.batch, settings.batch + math.ceil(QUEUE_SECONDS / self._pace.interval)
        )
        self._saved = dict.fromkeys(LOWER_SHARES, 0.0)
        self._walk = TenantScan()
        # Keys change only with a restart, so check this once, in a new dispatcher.
        keyring = settings.protection.keyring
        self._keys_to_wake_for = keyring.fingerprints if keyring else ()
        self._nightly = NightlyPurge(
            self._engine, age=settings.purge_after, name=name, leads=lambda: time.monotonic() < self._lead_until
        )

    def run(self, *, stopped: Callable[[], bool], beat: Callable[[], None] = lambda: None) -> None:
        """Dispatch until told to stop. Faults of the ledger or the broker are waited out, never fatal.

        `beat` is called in each round.
        """
        while not self._stop.is_set() and not stopped():
            beat()
            try:
                pause = FOLLOW_EVERY
                if self._may_begin() and self._leads():
                    pause = TICK
                    began = time.monotonic()
                    self.tick()
                    observe(definitions.TICK, time.monotonic() - began)
                    self._nightly.look()
            except DBAPIError as error:
                log.warning("dispatcher_waits_for_ledger", error=type(error.orig).__name__, sqlstate=sqlstate(error))
                pause = REST
            except SQLAlchemyError as error:
                log.warning("dispatcher_waits_for_ledger", error=type(error).__name__, code=error.code)
                pause = REST
            except NotPublished:
                pause = REST
            except Exception as error:
                log.exception("dispatcher_failed", error=type(error).__name__)
                pause = REST
            self._stop.wait(pause)
        self._nightly.stop()
        self._step_down()

    def stop(self) -> None:
        """End `run` at its next check."""
        self._stop.set()

    def tick(self) -> int:
        """Make one pass: wake due jobs, take back lost ones, release those in turn. Returns how many went out.

        Raises NotPublished if the broker did not take them, and what the database raises.
        """
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY
            self._sweep()
        released: list[ledger.Released] = []
        with transaction(self._engine) as connection:
            ledger.wake_due(connection)
            read_in_turn(connection)
            standing = ledger.standing(connection)
            if standing.held and standing.queued:
                back = ledger.requeue_all(connection)
                take(connection, Api.CUSTOMER, self._pace, -back)
                log.warning("jobs_put_back_by_hold", jobs=back)
            elif standing.priorities and not standing.held:
                released = (
                    self._probe(connection, standing) if standing.probing else self._release(connection, standing)
                )
        self._publish(released)
        if released and standing.unpublished:
            with transaction(self._engine) as connection:
                note_published(connection)
            log.info("broker_recovered")
        count(definitions.RELEASED, by=len(released))
        return len(released)

    def _sweep(self) -> None:
        """Take back what was lost, and end what is over. In a transaction of its own: nothing waits for it."""
        settings = self._settings
        with transaction(self._engine) as connection:
            lost = ledger.reclaim_unclaimed(connection, requeue_seconds=settings.requeue)
            expired = ledger.reclaim_expired(connection, policy=self._policy)
            end_lapsed_holds(connection)
            hold_stragglers(connection)
            free_stragglers(connection)
            probes = probe_links(connection)
            if self._keys_to_wake_for and not wake_decryptable(connection, self._keys_to_wake_for):
                self._keys_to_wake_for = ()
        for probe in probes:
            log.info("link_probe_sent", job_id=str(probe.id), tenant=tenant_digest(probe.tenant))
        if lost or expired:
            log.warning("jobs_taken_back", unclaimed=lost, expired=len(expired))
            count(definitions.TAKEN_BACK, "unclaimed", by=lost)
            count(definitions.TAKEN_BACK, "lease_expired", by=len(expired))
            # Count them here: the workers that held them are gone.
            count(definitions.SUBMISSIONS, AttemptOutcome.UNKNOWN, by=sum(job.unanswered for job in expired))
            count(definitions.DIED, Reason.OUTCOME_UNKNOWN, by=sum(job.dead for job in expired))
        if time.monotonic() >= self._roll_up_at:
            self._roll_up_at = time.monotonic() + ROLL_UP_EVERY
            with transaction(self._engine) as connection:
                roll_up(connection)
                free_orphans(connection)
                mark_old_keys(connection, key_trusted=key_trusted_for(self._settings.idempotency))
                forget_past_holds(connection)

    def _probe(self, connection: Connection, standing: ledger.Snapshot) -> list[ledger.Released]:
        """While a circuit is open, release one job to test whether the fault is over."""
        if standing.probe_under_way:
            return []
        lock_for_release(connection)
        released = ledger.release_probe(connection)
        for job in released:
            start_probe(connection, job.id, job.tenant)
            take(connection, Api.CUSTOMER, self._pace, 1)
            log.info("probe_sent", job_id=str(job.id), tenant=tenant_digest(job.tenant))
        return released

    def _release(self, connection: Connection, standing: ledger.Snapshot) -> list[ledger.Released]:
        """Release as many as the pace, the queue and the tenants' caps allow."""
        lock_for_release(connection)
        used = use(connection, Api.CUSTOMER, self._pace)
        room = min(
            self._pace.allowed(ahead=used.ahead, used=used.requests),
            self._queue_depth - standing.queued,
        )
        if room <= 0:
            return []
        cap = self._settings.tenant_concurrency
        released: list[ledger.Released] = []
        for priority in standing.priorities[1:]:
            # Lower priorities wait longer, but not for ever: each release saves up a little for them.
            share = LOWER_SHARES[priority] * room
            self._saved[priority] = min(self._saved[priority], 1.0) + share
            if slots := min(int(self._saved[priority]), room - len(released)):
                self._saved[priority] -= slots
                released += ledger.release(connection, room=slots, tenant_cap=cap, priority=priority)
        if len(released) < room:
            released += ledger.release(connection, room=room - len(released), tenant_cap=cap)
        if len(released) < room and ledger.any_pending(connection):
            past, self._walk = release_past_capped(
                connection, room=room - len(released), tenant_cap=cap, walk=self._walk
            )
            released += past
        take(connection, Api.CUSTOMER, self._pace, len(released))
        return released

    def _publish(self, released: Sequence[ledger.Released]) -> None:
        for ids in self._messages(released):
            try:
                self._publisher.publish(ids)
            except Exception as error:
                # Whether they went out is unknown. Both are harmless: an id that is not queued can't be claimed.
                log.warning("publish_failed", error=type(error).__name__, jobs=len(ids))
                self._publisher.close()
                with transaction(self._engine) as connection:
                    back = ledger.requeue_unpublished(connection, [job.id for job in released])
                    take(connection, Api.CUSTOMER, self._pace, -back)
                    note_unpublished(connection)
                    # Perhaps only this machine can't reach the broker.
                    ledger.step_down(connection, leader=self._name)
                self._lead_until = self._renew_at = 0.0
                raise NotPublished("the broker cannot be reached") from error

    def _messages(self, released: Sequence[ledger.Released]) -> Iterator[list[UUID]]:
        """Yield one id when idle, up to a batch under backlog; a job that may have killed a worker goes alone."""
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
