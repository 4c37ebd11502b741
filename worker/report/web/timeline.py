"""One job's life as a list of entries, each with a headline, labels, and what there is to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from worker.ledger.queries import Story
from worker.ledger.states import AttemptOutcome, State, Trigger
from worker.report.audit_descriptions import past_of
from worker.report.formatting import milliseconds, said
from worker.report.story import MEANINGS, OPEN, PRIORITIES
from worker.report.waiting import describe_pause
from worker.report.web.words import title

_TRIGGERS = {
    Trigger.INITIAL: "first try",
    Trigger.RETRY: "tried again",
    Trigger.UNAUTHORIZED_RETRY: "once more, with a fresh token",
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
    """One thing that happened."""

    at: datetime
    what: str
    tone: str = "plain"
    labels: list[str] = field(default_factory=list)
    text: str | None = None
    """Somebody else's words, or ours."""
    note: str | None = None
    url: str | None = None

    @property
    def date(self) -> str:
        """The day, in UTC, under which it stands."""
        return self.at.astimezone(UTC).date().isoformat()


def timeline(story: Story, why_it_waits: Sequence[str], now: datetime) -> list[Entry]:
    """Everything that happened to the job, oldest first; last, what holds it now."""
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
    # The sort is stable: where two things share a transaction's time, the order above tells it right.
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
    told = said(attempt["error_type"], attempt["error_message"])
    meaning = MEANINGS[outcome]
    if outcome is AttemptOutcome.UNAUTHORIZED and attempt["trigger"] == Trigger.UNAUTHORIZED_RETRY:
        meaning = "the API did not accept the fresh token either, so the client link is invalid"
    text = f"{meaning[:1].upper()}{meaning[1:]}." + (f" It said: {told}" if told else "")
    return Entry(attempt["started_at"], f"Attempt {attempt['number']}", _TONES.get(outcome, "trouble"), labels, text)


def _death(letter: dict[str, Any]) -> Entry:
    detail = letter["detail"]
    labels = ["invalid client link"] if letter["invalid_client_link"] else []
    told = said(detail.get("type"), detail.get("message"))
    what = f"Dead: {title(letter['reason'], detail.get('type'))}"
    return Entry(letter["created_at"], what, "trouble", labels, told or None, url=letter["solution_url"])


def _act(entry: dict[str, Any]) -> Entry:
    detail = entry["detail"]
    done = past_of(entry["action"])
    what = f"{done[:1].upper()}{done[1:]} by {entry['actor']}"
    keys = {
        "renewed": "new submission key",
        "kept": "same submission key, since the outcome was unknown",
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
