"""One job's timeline: entries with a headline, labels and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from worker.ledger.queries import Story
from worker.ledger.states import AttemptOutcome, State, Trigger
from worker.report.audit_descriptions import past_tense
from worker.report.formatting import describe_error, milliseconds
from worker.report.story import MEANINGS, OPEN, PRIORITIES
from worker.report.waiting import describe_pause
from worker.report.web.labels import title

_TRIGGERS = {
    Trigger.INITIAL: "first attempt",
    Trigger.RETRY: "retry",
    Trigger.UNAUTHORIZED_RETRY: "retried with a fresh token",
    Trigger.REPLAY: "after a replay",
}
_TONES = {
    AttemptOutcome.SUBMITTED: "good",
    AttemptOutcome.RATE_LIMITED: "data",
    AttemptOutcome.CONFLICT: "data",
    AttemptOutcome.UNKNOWN: "unknown",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in the timeline."""

    at: datetime
    what: str
    tone: str = "plain"
    labels: list[str] = field(default_factory=list)
    text: str | None = None
    """Text from the API or from us."""
    note: str | None = None
    url: str | None = None

    @property
    def date(self) -> str:
        """The day in UTC, by which entries are grouped."""
        return self.at.astimezone(UTC).date().isoformat()


def timeline(story: Story, why_it_waits: Sequence[str], now: datetime) -> list[Entry]:
    """All events of the job, oldest first; last, what it waits for now."""
    job = story.job
    entries = [Entry(job["created_at"], "Enqueued", "rule", [f"{PRIORITIES[job['priority']]} priority"])]
    entries += [
        Entry(hold["at"], "Held", "data", text=f"The whole fleet, {describe_pause(hold)}.") for hold in story.holds
    ]
    entries += [_attempt(attempt) for attempt in story.attempts]
    entries += [_death(letter) for letter in story.dead_letters]
    entries += [_act(entry) for entry in story.audit]
    if job["state"] == State.SUBMITTED:
        entries.append(_submitted(story))
    # The sort is stable: entries with the same transaction time keep the order above.
    entries.sort(key=lambda entry: entry.at)
    return entries + [Entry(now, "Waits now", "data", text=reason) for reason in why_it_waits]


def _attempt(attempt: dict[str, Any]) -> Entry:
    labels = [_TRIGGERS[Trigger(attempt["trigger"])]]
    if attempt["http_status"]:
        labels.append(f"HTTP {attempt['http_status']}")
    if attempt["duration_ms"] is not None:
        labels.append(milliseconds(attempt["duration_ms"]))
    if attempt["token_source"]:
        labels.append(f"{attempt['token_source']} token {(attempt['token_fingerprint'] or '')[:8]}".strip())
    if attempt["outcome"] is None:
        return Entry(attempt["started_at"], f"Attempt {attempt['number']}", "data", labels, OPEN)
    outcome = AttemptOutcome(attempt["outcome"])
    message = describe_error(attempt["error_type"], attempt["error_message"])
    meaning = MEANINGS[outcome]
    if outcome is AttemptOutcome.UNAUTHORIZED and attempt["trigger"] == Trigger.UNAUTHORIZED_RETRY:
        meaning = "the API did not accept the fresh token either, so the client link is invalid"
    text = f"{meaning[:1].upper()}{meaning[1:]}." + (f" Message: {message}" if message else "")
    return Entry(attempt["started_at"], f"Attempt {attempt['number']}", _TONES.get(outcome, "trouble"), labels, text)


def _death(letter: dict[str, Any]) -> Entry:
    detail = letter["detail"]
    labels = ["invalid client link"] if letter["invalid_client_link"] else []
    message = describe_error(detail.get("type"), detail.get("message"))
    what = f"Dead: {title(letter['reason'], detail.get('type'))}"
    return Entry(letter["created_at"], what, "trouble", labels, message or None, url=letter["solution_url"])


def _act(entry: dict[str, Any]) -> Entry:
    detail = entry["detail"]
    done = past_tense(entry["action"])
    what = f"{done[:1].upper()}{done[1:]} by {entry['actor']}"
    keys = {
        "renewed": "new submission key",
        "kept": "same submission key, because the outcome was unknown",
    }
    labels = [keys[detail["submission_key"]]] if detail.get("submission_key") in keys else []
    if detail.get("operation"):
        labels.append(f"operation {detail['operation']}")
    changed = detail.get("changed")
    text = f"Changed: {', '.join(map(str, changed))}" if isinstance(changed, list) and changed else None
    return Entry(entry["at"], what, "link" if entry["action"] != "reveal" else "data", labels, text, entry["note"])


def _submitted(story: Story) -> Entry:
    job = story.job
    text = None
    if AttemptOutcome.SUBMITTED not in {attempt["outcome"] for attempt in story.attempts}:
        text = "Found by its creditorReference: an earlier request had created it."
    return Entry(job["finalized_at"], f"Submitted: case {job['case_reference'] or job['case_id']}", "good", [], text)
