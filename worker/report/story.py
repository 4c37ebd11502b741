"""One job's history as text: attempts, outcomes, user actions, status and advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.case.fields import one_line
from worker.ledger.queries import Story
from worker.ledger.states import AttemptOutcome, State, Trigger
from worker.report.advice import full_advice
from worker.report.audit_descriptions import past_tense
from worker.report.formatting import describe_error, milliseconds, moment, money
from worker.report.terminal import Screen
from worker.report.waiting import describe_pause

PRIORITIES = ("high", "normal", "low")

_TRIGGERS = {
    Trigger.INITIAL: "",
    Trigger.RETRY: ", a retry",
    Trigger.UNAUTHORIZED_RETRY: ", a retry with a fresh token",
    Trigger.REPLAY: ", after the replay",
}
#: The meaning of an attempt's outcome, as the end of a sentence.
MEANINGS = {
    AttemptOutcome.SUBMITTED: "the API accepted the case",
    AttemptOutcome.UNAUTHORIZED: "the API did not accept the token",
    AttemptOutcome.REFUSED: "the API rejected it; it needs a person",
    AttemptOutcome.RATE_LIMITED: "the API's rate limit was reached; this does not count as an attempt",
    AttemptOutcome.CONFLICT: "another request with the same key was in progress; this does not count as an attempt",
    AttemptOutcome.SERVER_ERROR: "a fault of the API or of the network",
    AttemptOutcome.UNUSABLE: "the response does not say whether the case was accepted",
    AttemptOutcome.NOT_SENT: "no connection, so the request did not arrive",
    AttemptOutcome.UNKNOWN: "outcome unknown: the request may have arrived",
}
#: The meaning of an attempt without an outcome.
OPEN = "no response recorded: the request is in progress, or its worker died"
#: For a job that may have been submitted in the time that a restore lost.
LOOKED_UP_FIRST = (
    "The ledger was restored from a backup, or the Idempotency-Key is too old to be trusted, so the API may have the"
    " case already: it is sent only after a look-up by its creditorReference finds nothing."
)
_STATES = {
    State.PENDING: "Ready: the dispatcher sends it in turn.",
    State.WAITING: "Waiting: it is retried when it is due.",
    State.QUEUED: "On the Celery queue: a worker takes it next.",
    State.SUBMITTING: "A worker is submitting it now.",
    State.HELD: "Held: its client's link is invalid. It continues when the link is valid again.",
    State.SUBMITTED: "Done: the API has the case.",
    State.DEAD: "It needs a person.",
    State.DISCARDED: "A person discarded it.",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event in the timeline."""

    at: datetime
    text: str


def timeline(story: Story) -> list[Event]:
    """All events of the job, oldest first."""
    job = story.job
    events = [Event(job["created_at"], f"enqueued, with {PRIORITIES[job['priority']]} priority")]
    events += [Event(hold["at"], f"held {describe_pause(hold)}") for hold in story.holds]
    events += [Event(attempt["started_at"], _attempt(attempt)) for attempt in story.attempts]
    events += [Event(letter["created_at"], _death(letter)) for letter in story.dead_letters]
    events += [Event(entry["at"], _act(entry)) for entry in story.audit]
    if job["state"] == State.SUBMITTED:
        events.append(Event(job["finalized_at"], _submitted(story)))
    # The sort is stable: events with the same transaction time keep the order above.
    return sorted(events, key=lambda event: event.at)


def describe_status(story: Story) -> str:
    """The job's current status, in one or two sentences."""
    job = story.job
    text = _STATES[State(job["state"])]
    if job["state"] == State.WAITING:
        text = f"Waiting until {moment(job['due_at'])}, then it is retried."
    if job["state"] == State.SUBMITTING:
        text = f"{one_line(job['lease_owner'])} is submitting it; its lease ends {moment(job['lease_until'])}."
    if job.get("look_up_first"):
        text += f" {LOOKED_UP_FIRST}"
    elif job["outcome_unknown"] and job["state"] != State.SUBMITTED:
        text += f" {_unknown(job)}"
    if job.get("purged_at"):
        text += f" Its case was removed {moment(job['purged_at'])}; only its states, attempts and dates are kept."
    return text


def to_do(story: Story) -> str | None:
    """What a person should do now, or None."""
    letter = open_letter(story)
    if letter and letter["detail"].get("no_reference") and story.job.get("look_up_first"):
        return "If the case is at Debitura, discard. If not, run case-worker reconcile --absent, then replay."
    return full_advice(letter["reason"], letter["detail"].get("type")) if letter else None


def open_letter(story: Story) -> dict[str, Any] | None:
    """The unresolved dead letter, or None."""
    return next((letter for letter in story.dead_letters if letter["resolved_at"] is None), None)


def as_data(story: Story) -> dict[str, Any]:
    """The history for programs: the rows, and the text made of them."""
    return {
        "job": story.job | {"priority": PRIORITIES[story.job["priority"]]},
        "standing": describe_status(story),
        "what_to_do": to_do(story),
        "timeline": [{"at": event.at, "text": event.text} for event in timeline(story)],
        "attempts": story.attempts,
        "dead_letters": story.dead_letters,
        "audit": story.audit,
        "holds": story.holds,
    }


def show_story(screen: Screen, story: Story, why_it_waits: Sequence[str] = ()) -> None:
    """Show the history to people."""
    job = story.job
    screen.line(f"job {job['id']}: {job['state']}", style="bold")
    facts = [
        ("tenant", one_line(job["external_tenant_id"])),
        ("reference", one_line(job["creditor_reference"] or no_reference(job))),
        ("amount", money(job["amount"], job["currency"]) or "not known"),
        ("idempotency key", one_line(job["idempotency_key"])),
    ]
    if job["case_id"]:
        facts.append(("case", f"{one_line(job['case_reference'] or '')} {one_line(job['case_id'])}".strip()))
    facts.append(("now", describe_status(story)))
    facts += [("waits for", words) for words in why_it_waits]
    if advice := to_do(story):
        facts.append(("to do", advice))
    letter = open_letter(story)
    if letter and letter["solution_url"]:
        facts.append(("link", one_line(letter["solution_url"])))
    screen.facts(facts)
    screen.line()
    screen.facts([(moment(event.at), event.text) for event in timeline(story)])


def no_reference(job: dict[str, Any]) -> str:
    """Explain why a job shows no creditorReference."""
    if job.get("purged_at"):
        return "removed with its case"
    return "encrypted with its case, if it has one" if job.get("sealed") else "none"


def _unknown(job: dict[str, Any]) -> str:
    """Explain an unknown outcome, and why no second case can result."""
    if job["creditor_reference"]:
        how = "It is looked up by its creditorReference before anything is sent again, and the key stays the same"
    elif job.get("sealed"):
        how = "If its encrypted case has a creditorReference, it is looked up by that first, and the key stays the same"
    else:
        how = "It has no creditorReference to look it up by, but every retry and replay keeps the same key"
    return f"Its case may exist at the API. {how}, so no second case is created."


def _attempt(attempt: dict[str, Any]) -> str:
    words = [f"attempt {attempt['number']}{_TRIGGERS[Trigger(attempt['trigger'])]}"]
    if attempt["token_source"]:
        words[0] += f" ({attempt['token_source']} token {attempt['token_fingerprint']})"
    if attempt["outcome"] is None:
        words.append(OPEN)
        return ": ".join(words)
    response = str(attempt["http_status"] or "no response")
    if attempt["duration_ms"] is not None:
        response += f" after {milliseconds(attempt['duration_ms'])}"
    words.append(f"{response}: {_meaning(attempt)}")
    if message := describe_error(attempt["error_type"], attempt["error_message"]):
        words[-1] += f" ({message})"
    return ": ".join(words)


def _meaning(attempt: dict[str, Any]) -> str:
    outcome, trigger = AttemptOutcome(attempt["outcome"]), Trigger(attempt["trigger"])
    if outcome is AttemptOutcome.UNAUTHORIZED and trigger is Trigger.UNAUTHORIZED_RETRY:
        return "the API did not accept the fresh token either, so the client link is invalid"
    return MEANINGS[outcome]


def _death(letter: dict[str, Any]) -> str:
    detail = letter["detail"]
    text = f"dead: {letter['reason']}"
    if letter["invalid_client_link"]:
        text += " (invalid client link)"
    if message := describe_error(detail.get("type"), detail.get("message")):
        text += f": {message}"
    if letter["solution_url"]:
        text += f" → {one_line(letter['solution_url'])}"
    return text


def _act(entry: dict[str, Any]) -> str:
    text = f"{past_tense(entry['action'])} by {one_line(entry['actor'])}"
    match entry["detail"].get("submission_key"):
        case "renewed":
            text += ", with a new submission key"
        case "kept":
            text += ", with the same submission key, because the outcome was unknown"
    return text + (f": {one_line(entry['note'])}" if entry["note"] else "")


def _submitted(story: Story) -> str:
    job = story.job
    case = f"case {one_line(job['case_reference'] or '')} ({job['case_id']})".replace("  ", " ")
    outcomes = {attempt["outcome"] for attempt in story.attempts}
    if AttemptOutcome.SUBMITTED in outcomes:
        return f"submitted: {case}"
    return f"submitted: {case}, found by its creditorReference: an earlier request had created it"
