"""The pipeline at one moment: jobs by state, what needs a person, what holds the fleet."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from worker.ledger.queries import Counts
from worker.ledger.states import INVALID_LINK_REASONS, State
from worker.report.terminal import Column, Screen
from worker.report.wording import moment, one_line, span

_NEXT = {
    State.PENDING: "ready, waiting for their turn",
    State.WAITING: "not due yet: a retry, a rate limit, an outage",
    State.QUEUED: "on the Celery queue",
    State.SUBMITTING: "in a worker's hands",
    State.SUBMITTED: "done: the API has the case",
    State.DEAD: "need a person: case-worker report",
    State.DISCARDED: "given up by a person",
}


def as_data(counts: Counts, *, rate_limits: str) -> dict[str, Any]:
    """The same for programs. All seven states are there; of the reasons, those that occur."""
    facts = asdict(counts)
    return {
        "jobs": facts["jobs"],
        "dead_letters": {
            "open": facts["open_dead_letters"],
            "invalid_client_link": facts["invalid_client_links"],
            "by_reason": facts["by_reason"],
        },
        "oldest_pending_seconds": facts["oldest_pending_seconds"],
        "rate_limits": {"configured": rate_limits},
        "holds": facts["holds"],
        "dispatcher": {"leader": facts["leader"]},
    }


def show_overview(screen: Screen, counts: Counts, *, rate_limits: str) -> None:
    """The same for people."""
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
    screen.facts(_facts(counts, rate_limits), indent=0)


def _facts(counts: Counts, rate_limits: str) -> list[tuple[str, str]]:
    oldest = counts.oldest_pending_seconds
    facts = [
        ("open failures", f"{counts.open_dead_letters} (invalid client link: {counts.invalid_client_links})"),
        ("oldest pending job", "none" if oldest is None else f"enqueued {span(oldest)} ago"),
        ("rate limits", rate_limits.replace(";", ", ")),
        ("dispatcher", one_line(counts.leader) if counts.leader else "none leads: no worker is running"),
    ]
    if not counts.holds:
        return [*facts, ("holds", "none")]
    return facts + [(f"hold {hold['name']}", _hold(hold)) for hold in counts.holds]


def _hold(hold: dict[str, Any]) -> str:
    since = f"since {moment(hold['since'])}"
    if hold["in_force"]:
        return f"nothing is released until {moment(hold['until'])} ({since}): {one_line(hold['detail'])}"
    return f"jobs go out one at a time to try ({since}): {one_line(hold['detail'])}"
