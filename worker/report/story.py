"""One job's story in plain words: what was tried, what it meant, what people did, and what is to be done now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.case.fields import one_line
from worker.ledger.queries import Story
from worker.ledger.states import AttemptOutcome, State, Trigger
from worker.report.advice import all_there_is_to_do
from worker.report.audit_descriptions import past_of
from worker.report.formatting import milliseconds, moment, money, said
from worker.report.terminal import Screen
from worker.report.waiting import describe_pause

PRIORITIES = ("high", "normal", "low")

_TRIGGERS = {
    Trigger.INITIAL: "",
    Trigger.RETRY: ", tried again",
    Trigger.UNAUTHORIZED_RETRY: ", sent once more with a fresh token",
    Trigger.REPLAY: ", tried again after the replay",
}
#: What an attempt's outcome says, as the end of a sentence.
MEANINGS = {
    AttemptOutcome.SUBMITTED: "the API took the case",
    AttemptOutcome.UNAUTHORIZED: "the API did not accept the token",
    AttemptOutcome.REFUSED: "the API refused it; only a person can change that",
    AttemptOutcome.RATE_LIMITED: "the API's rate limit was reached; this does not count as an attempt",
    AttemptOutcome.CONFLICT: "another request with the same key was under way; this does not count as an attempt",
    AttemptOutcome.SERVER_ERROR: "trouble at the API or on the way to it",
    AttemptOutcome.UNUSABLE: "the answer does not say whether the case was taken",
    AttemptOutcome.NOT_SENT: "no connection was made, so the request certainly did not arrive",
    AttemptOutcome.UNKNOWN: "outcome unknown: the request may have arrived, and nobody on this side can tell",
}
#: The same for an attempt without one.
OPEN = "no answer is recorded yet: the request is under way, or its worker died with it"
#: Of a job that the lost hours before a restore may have submitted.
LOOKED_UP_FIRST = (
    "The ledger was restored from a backup, so the API may have the case already: nothing is sent before a look-up by"
    " its creditorReference finds nothing."
)
_STATES = {
    State.PENDING: "Ready: the dispatcher gives it out when it has its turn.",
    State.WAITING: "Waiting: it is tried again when it is due.",
    State.QUEUED: "On the Celery queue: a worker takes it next.",
    State.SUBMITTING: "A worker is submitting it just now.",
    State.HELD: "Held: its client's link is invalid. It goes on when the link is good again.",
    State.SUBMITTED: "Done: the API has the case.",
    State.DEAD: "It needs a person.",
    State.DISCARDED: "A person gave it up; nothing more happens.",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: datetime
    text: str


def timeline(story: Story) -> list[Event]:
    """Everything that happened to the job, oldest first."""
    job = story.job
    events = [Event(job["created_at"], f"enqueued, with {PRIORITIES[job['priority']]} priority")]
    events += [Event(hold["at"], f"held {describe_pause(hold)}") for hold in story.holds]
    events += [Event(attempt["started_at"], _attempt(attempt)) for attempt in story.attempts]
    events += [Event(letter["created_at"], _death(letter)) for letter in story.dead_letters]
    events += [Event(entry["at"], _act(entry)) for entry in story.audit]
    if job["state"] == State.SUBMITTED:
        events.append(Event(job["finalized_at"], _submitted(story)))
    # The sort is stable: where two things share a transaction's time, the order above tells it right.
    return sorted(events, key=lambda event: event.at)


def standing(story: Story) -> str:
    """Where the job is now, in one or two sentences."""
    job = story.job
    text = _STATES[State(job["state"])]
    if job["state"] == State.WAITING:
        text = f"Waiting until {moment(job['due_at'])}, then it is tried again."
    if job["state"] == State.SUBMITTING:
        text = f"{one_line(job['lease_owner'])} is submitting it; its claim holds until {moment(job['lease_until'])}."
    if job.get("look_up_first"):
        text += f" {LOOKED_UP_FIRST}"
    elif job["outcome_unknown"] and job["state"] != State.SUBMITTED:
        text += f" {_unknown(job)}"
    if job.get("purged_at"):
        text += (
            f" Its case was removed {moment(job['purged_at'])}; what is left says only that and how it was dealt with."
        )
    return text


def to_do(story: Story) -> str | None:
    """What a person should do now; None when nobody has to do anything."""
    letter = open_letter(story)
    if letter and letter["detail"].get("no_reference") and story.job.get("look_up_first"):
        return "It is there: discard. It is not: case-worker reconcile --absent, then replay."
    return all_there_is_to_do(letter["reason"], letter["detail"].get("type")) if letter else None


def open_letter(story: Story) -> dict[str, Any] | None:
    """The dead letter that waits for a person, if there is one."""
    return next((letter for letter in story.dead_letters if letter["resolved_at"] is None), None)


def as_data(story: Story) -> dict[str, Any]:
    """Everything for programs: the rows, and the words made of them."""
    return {
        "job": story.job | {"priority": PRIORITIES[story.job["priority"]]},
        "standing": standing(story),
        "what_to_do": to_do(story),
        "timeline": [{"at": event.at, "text": event.text} for event in timeline(story)],
        "attempts": story.attempts,
        "dead_letters": story.dead_letters,
        "audit": story.audit,
        "holds": story.holds,
    }


def show_story(screen: Screen, story: Story, why_it_waits: Sequence[str] = ()) -> None:
    """Everything for people."""
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
    facts.append(("now", standing(story)))
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
    """Why a job shows no creditorReference."""
    if job.get("purged_at"):
        return "removed with its case"
    return "sealed in its case, if it has one" if job.get("sealed") else "none"


def _unknown(job: dict[str, Any]) -> str:
    """What an unknown outcome means for this job, and why no second case can come of it."""
    if job["creditor_reference"]:
        how = "It is looked up by its creditorReference before anything is sent again, and the key stays the same"
    elif job.get("sealed"):
        how = "If its sealed case has a creditorReference, it is looked up by that first, and the key stays the same"
    else:
        how = "It has no creditorReference to look it up by, but every retry and replay keeps the same key"
    return f"Its case may exist at the API without our knowing. {how}, so no second case is made."


def _attempt(attempt: dict[str, Any]) -> str:
    words = [f"attempt {attempt['number']}{_TRIGGERS[Trigger(attempt['trigger'])]}"]
    if attempt["token_source"]:
        words[0] += f" ({attempt['token_source']} token {attempt['token_fingerprint']})"
    if attempt["outcome"] is None:
        words.append(OPEN)
        return ": ".join(words)
    answer = str(attempt["http_status"] or "no answer")
    if attempt["duration_ms"] is not None:
        answer += f" after {milliseconds(attempt['duration_ms'])}"
    words.append(f"{answer}: {_meaning(attempt)}")
    if told := said(attempt["error_type"], attempt["error_message"]):
        words[-1] += f" ({told})"
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
    if told := said(detail.get("type"), detail.get("message")):
        text += f": {told}"
    if letter["solution_url"]:
        text += f" → {one_line(letter['solution_url'])}"
    return text


def _act(entry: dict[str, Any]) -> str:
    text = f"{past_of(entry['action'])} by {one_line(entry['actor'])}"
    match entry["detail"].get("submission_key"):
        case "renewed":
            text += ", with a new submission key"
        case "kept":
            text += ", keeping the submission key, since the outcome was unknown"
    return text + (f": {one_line(entry['note'])}" if entry["note"] else "")


def _submitted(story: Story) -> str:
    job = story.job
    case = f"case {one_line(job['case_reference'] or '')} ({job['case_id']})".replace("  ", " ")
    answers = {attempt["outcome"] for attempt in story.attempts}
    if AttemptOutcome.SUBMITTED in answers:
        return f"submitted: {case}"
    return f"submitted: {case}, found by its creditorReference: an earlier request had created it"
