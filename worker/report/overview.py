"""A snapshot of the pipeline: jobs by state, open failures, and what pauses the fleet."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from worker.case.fields import one_line
from worker.ledger.queries import Counts
from worker.ledger.queries.waiting import FleetWaits
from worker.ledger.states import INVALID_LINK_REASONS, State
from worker.ledger.writer.holds import HoldName
from worker.report.formatting import span
from worker.report.terminal import Column, Screen
from worker.report.waiting import describe_estimate, describe_fleet, describe_window, windows_as_data

_NEXT = {
    State.PENDING: "ready, waiting to be sent",
    State.WAITING: "not due yet: a retry, a rate limit, an outage",
    State.QUEUED: "on the Celery queue",
    State.SUBMITTING: "claimed by a worker",
    State.HELD: "their client's link is invalid: fix the link",
    State.SUBMITTED: "done: the API has the case",
    State.DEAD: "need a person: case-worker report",
    State.DISCARDED: "discarded by a person",
}


def as_data(counts: Counts, waits: FleetWaits) -> dict[str, Any]:
    """The snapshot for programs: all states, and the reasons that occur."""
    facts = asdict(counts)
    return {
        "jobs": facts["jobs"],
        "brake": brake_as_data(waits),
        "dead_letters": {
            "open": facts["open_dead_letters"],
            "invalid_client_link": facts["invalid_client_links"],
            "by_reason": facts["by_reason"],
        },
        "oldest_pending_seconds": facts["oldest_pending_seconds"],
        "rate_limits": windows_as_data(waits),
        "waits_for": describe_fleet(waits),
        "backlog": {"jobs": waits.backlog, "seconds_at_allowed_pace": waits.estimate},
        "holds": facts["holds"],
        "dispatcher": {"leader": facts["leader"]},
        "broker": {"unpublished_since": waits.unpublished_since},
    }


def brake_as_data(waits: FleetWaits) -> dict[str, Any] | None:
    """Why the brake stopped the fleet, or None."""
    for held in waits.holds:
        if held["name"] == HoldName.BRAKE:
            return {
                "since": held["since"],
                "reason": held["reason"],
                "message": held["detail"],
                "jobs": waits.backlog,
                "tenants": waits.tenants,
                "amounts": waits.amounts,
                "probes": held["probes"],
            }
    return None


def show_overview(screen: Screen, counts: Counts, waits: FleetWaits) -> None:
    """Show the snapshot to people."""
    states = [[state, str(counts.jobs[state]), _NEXT[State(state)]] for state in counts.jobs]
    screen.table([Column("state", whole=True), Column("jobs", right=True, whole=True), Column("meaning")], states)
    screen.line()
    if counts.by_reason:
        reasons = [
            [reason, str(count), "invalid client link" if reason in INVALID_LINK_REASONS else ""]
            for reason, count in counts.by_reason.items()
        ]
        screen.table(
            [Column("needs a person", whole=True), Column("open", right=True, whole=True), Column("")], reasons
        )
        screen.line()
    screen.facts(_facts(counts, waits), indent=0)


def _facts(counts: Counts, waits: FleetWaits) -> list[tuple[str, str]]:
    oldest = counts.oldest_pending_seconds
    leaderless = "none is leading now" if waits.unpublished_since else "none is leading: no worker is running"
    facts = [
        ("open failures", f"{counts.open_dead_letters} (invalid client link: {counts.invalid_client_links})"),
        ("oldest pending job", "none" if oldest is None else f"ready for {span(oldest)}"),
        ("rate limits used", ", ".join(describe_window(window) for window in waits.windows)),
        ("backlog", describe_estimate(waits)),
        ("dispatcher", one_line(counts.leader) if counts.leader else leaderless),
    ]
    return facts + [("waits for", words) for words in describe_fleet(waits)]
