"""One worker's alert checks, run by a test."""

from __future__ import annotations

from typing import Any

from tests.support.databases import Database
from tests.support.rows import NOW, change_dead_letters, change_jobs
from worker.alerts.settings import AlertSettings
from worker.alerts.watch import AlertWatch
from worker.ledger.database import transaction

URLS = "https://a.example/hunter2 slack+https://b.example/hunter2"


class Looks:
    """One worker's alert checks, one at a time."""

    def __init__(self, ledger: Database, **environ: str) -> None:
        self.ledger = ledger
        settings = AlertSettings.from_environment({"ALERT_WEBHOOK_URLS": URLS} | environ)
        self.watch = AlertWatch(settings, ledger.engine, name="one")

    def look(self) -> int:
        with transaction(self.ledger.engine) as connection:
            return self.watch.look(connection)

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """All alerts, in order."""
        rows = self.ledger.rows("SELECT kind, facts FROM alerts ORDER BY created_at, kind DESC")
        return [(str(kind), facts) for kind, facts in rows]  # type: ignore[misc]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told()]

    def time_passes(self, seconds: int) -> None:
        """Move everything seen so far into the past, so that the alert budget is free again."""
        self.ledger.rows("UPDATE alert_conditions SET seen_at = seen_at - make_interval(secs => %s)", seconds)
        self.ledger.rows("UPDATE alerts SET created_at = created_at - make_interval(secs => %s)", seconds)


def resolve_all(ledger: Database) -> None:
    """Resolve every failure, as if a person had replayed everything."""
    change_dead_letters(ledger, resolved_at=NOW, resolution="replayed", resolved_by="ada")
    change_jobs(ledger, "dead", state="pending")
