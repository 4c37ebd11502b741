"""A thread that finds conditions to alert on. It has its own database connection and blocks no other thread."""

from __future__ import annotations

import time

import structlog
from sqlalchemy import Connection, Engine

from worker.alerts.changes import ENDINGS, WINDOW, Batch, changes
from worker.alerts.loop import Loop
from worker.alerts.observe import ending_facts, facts_of, observe
from worker.alerts.settings import AlertSettings
from worker.ledger.alert_models import AlertKind
from worker.ledger.database import transaction
from worker.ledger.queries.alerts import Known, known_conditions, leads, told_lately
from worker.ledger.writer import alerts as writer
from worker.ledger.writer.alerts import NewAlert, NewCondition, give_up_abandoned

log = structlog.get_logger(__name__)

#: Seconds between two checks in the worker whose dispatcher leads. A circuit stays open for at least as long.
LOOK_EVERY = 2.0
#: A slow check is followed by a pause this many times as long, to keep load off the ledger.
PAUSE_AFTER_LOOK = 20
#: Days after which an alert is deleted, days after which an undelivered alert is given up, and the seconds between two
#: clean-ups.
KEPT_DAYS = 30
ABANDONED_DAYS = 1
FORGET_EVERY = 3600.0


class AlertWatch(Loop):
    """Checks for conditions while this worker's dispatcher leads. `look` is one check, also called by tests."""

    failed = "alert_watch_failed"

    def __init__(self, settings: AlertSettings, engine: Engine, *, name: str) -> None:
        """`name` is the name of the worker's dispatcher."""
        super().__init__()
        self._settings = settings
        self._engine = engine
        self._name = name
        self._forget_at = 0.0

    def look(self, connection: Connection) -> int:
        """Write alerts for conditions that started or ended since the last check. Returns how many were written."""
        looked_at = writer.begin_look(connection)
        known = known_conditions(connection)
        holding = observe(connection, known, looked_at=looked_at, oldest_pending=self._settings.oldest_pending)
        found = changes(known, holding, told_lately(connection, seconds=WINDOW))
        alerts = [self._begun(connection, batch) for batch in found.begun]
        alerts += [self._ended(connection, condition) for condition in found.ended]
        if found.forgotten:
            writer.end_conditions(connection, found.forgotten)
        if found.refreshed:
            writer.see_conditions(connection, found.refreshed)
        return sum(alerts)

    def _round(self) -> float:
        began = time.monotonic()
        self._turn()
        return max(LOOK_EVERY, PAUSE_AFTER_LOOK * (time.monotonic() - began))

    def _turn(self) -> None:
        with transaction(self._engine) as connection:
            if not leads(connection, self._name):
                return
            self.look(connection)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + FORGET_EVERY
            with transaction(self._engine) as connection:
                give_up_abandoned(connection, days=ABANDONED_DAYS)
                writer.forget_old_alerts(connection, days=KEPT_DAYS)

    def _begun(self, connection: Connection, batch: Batch) -> bool:
        facts = facts_of(connection, batch)
        if facts is None:
            return False
        writer.begin_conditions(connection, [NewCondition(held.key, held.kind, held.facts) for held in batch.members])
        return self._tell(connection, NewAlert(batch.kind, batch.dedup_key, facts))

    def _ended(self, connection: Connection, condition: Known) -> bool:
        writer.end_conditions(connection, [condition.key])
        kind = ENDINGS[AlertKind(condition.kind)]
        key = f"{kind}:{condition.key}:{condition.since.isoformat()}"
        return self._tell(connection, NewAlert(kind, key, ending_facts(condition)))

    def _tell(self, connection: Connection, alert: NewAlert) -> bool:
        told = writer.tell(connection, alert, self._settings.receivers)
        if told:
            log.info("alert_written", alert_id=str(told), kind=alert.kind.value)
        return told is not None
