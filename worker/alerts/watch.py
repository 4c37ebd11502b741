"""A thread that looks for what is to be told. It has a connection of its own, and nobody waits for it."""

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

#: Seconds between two looks of the worker whose dispatcher leads. A circuit is open for at least as long.
LOOK_EVERY = 2.0
#: A look that takes long is followed by a rest this many times as long: the ledger has better things to do.
REST_AFTER_LOOK = 20
#: Days after which an alert is forgotten, and after which one that nobody delivers is given up; seconds between two
#: times that both are seen to.
KEPT_DAYS = 30
ABANDONED_DAYS = 1
FORGET_EVERY = 3600.0


class AlertWatch(Loop):
    """Looks, as long as the dispatcher of its worker leads. `look` is one look, for tests too."""

    failed = "alert_watch_failed"

    def __init__(self, settings: AlertSettings, engine: Engine, *, name: str) -> None:
        """`name` is the worker's, as its dispatcher calls itself."""
        super().__init__()
        self._settings = settings
        self._engine = engine
        self._name = name
        self._forget_at = 0.0

    def look(self, connection: Connection) -> int:
        """Find what has begun or ended since the last look, and write down what is to be told. Returns how much."""
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
        return max(LOOK_EVERY, REST_AFTER_LOOK * (time.monotonic() - began))

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
