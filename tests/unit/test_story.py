"""One job's story in plain words, from rows made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from worker.ledger.queries import Story
from worker.ledger.states import AttemptOutcome, State, Trigger
from worker.ledger.writer.holds import HoldName
from worker.report.story import describe_status, no_reference, timeline, to_do
from worker.report.web.timeline import timeline as page_timeline

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
JOB = {
    "id": UUID(int=1), "priority": 1, "created_at": BEGAN, "state": "pending", "outcome_unknown": False,
    "creditor_reference": "R1", "due_at": None, "lease_owner": None, "lease_until": None, "finalized_at": None,
    "case_id": None, "case_reference": None,
}  # fmt: skip


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def attempt(number: int, outcome: str | None, **more: Any) -> dict[str, Any]:
    return {
        "number": number, "trigger": "initial", "started_at": at(number), "http_status": None, "outcome": outcome,
        "error_type": None, "error_message": None, "duration_ms": 40, "token_source": "cached",
        "token_fingerprint": "ab12", **more,
    }  # fmt: skip


def letter(reason: str = "validation", **more: Any) -> dict[str, Any]:
    return {
        "reason": reason, "invalid_client_link": False, "detail": {}, "solution_url": None, "created_at": at(10),
        "resolved_at": None, **more,
    }  # fmt: skip


def told(
    *attempts: dict[str, Any], letters: tuple[dict[str, Any], ...] = (), audit: tuple[dict[str, Any], ...] = (),
    holds: tuple[dict[str, Any], ...] = (), **job: Any,
) -> Story:  # fmt: skip
    return Story(JOB | job, list(attempts), list(letters), list(audit), list(holds))


def texts(story: Story) -> list[str]:
    return [event.text for event in timeline(story)]


@pytest.mark.parametrize("outcome", AttemptOutcome)
@pytest.mark.parametrize("trigger", Trigger)
def test_every_outcome_of_every_kind_of_attempt_has_words(outcome: AttemptOutcome, trigger: Trigger) -> None:
    text = texts(told(attempt(3, outcome, trigger=trigger, http_status=200)))[1]

    assert text.startswith("attempt 3")
    assert "(cached token ab12)" in text
    assert "200 after 40 ms: " in text


@pytest.mark.parametrize("state", State)
def test_every_state_has_words(state: State) -> None:
    story = told(state=state, due_at=at(60), lease_owner="h:1", lease_until=at(90), finalized_at=at(9), case_id="c")

    assert describe_status(story).endswith(".")


def test_no_answer_is_said_to_be_an_unknown_outcome() -> None:
    text = texts(told(attempt(1, "unknown", error_message="no response before the timeout")))[1]

    assert "no response after 40 ms: outcome unknown: the request may have arrived" in text
    assert text.endswith("(no response before the timeout)")


def test_an_open_attempt_is_under_way_or_lost_with_its_worker() -> None:
    text = texts(told(attempt(1, None, token_source=None, duration_ms=None)))[1]

    assert text == "attempt 1: no response recorded: the request is in progress, or its worker died"


def test_a_second_401_is_not_told_like_the_first() -> None:
    first, second = texts(
        told(
            attempt(1, "unauthorized", http_status=401),
            attempt(2, "unauthorized", http_status=401, trigger="unauthorized_retry"),
        )
    )[1:]

    assert first.endswith("the API did not accept the token")
    assert "a retry with a fresh token" in second
    assert second.endswith("so the client link is invalid")


def test_things_come_in_the_order_in_which_they_happened() -> None:
    replayed = {"at": at(20), "actor": "Åse", "action": "replay", "detail": {"submission_key": "renewed"}, "note": "ok"}
    story = told(
        attempt(1, "refused", http_status=400),
        attempt(2, "submitted", http_status=200, started_at=at(30), trigger="replay"),
        letters=(letter(resolved_at=at(20)),),
        audit=(replayed,),
        state="submitted", finalized_at=at(31), case_id="c-1", case_reference="AB12CD34",
    )  # fmt: skip

    assert [text.split(":")[0].split(" (")[0] for text in texts(story)] == [
        "enqueued, with normal priority",
        "attempt 1",
        "dead",
        "replayed by Åse, with a new submission key",
        "attempt 2, after the replay",
        "submitted",
    ]
    assert texts(story)[-1] == "submitted: case AB12CD34 (c-1)"
    assert to_do(story) is None


@pytest.mark.parametrize("name", [*HoldName, "of_a_later_version"])
def test_what_held_the_fleet_is_told_where_it_began_to_matter(name: str) -> None:
    hold = {"name": name, "since": at(-60), "ended_at": at(120), "at": BEGAN}
    enqueued, held, tried = texts(told(attempt(1, "submitted", http_status=200, started_at=at(121)), holds=(hold,)))

    assert enqueued.startswith("enqueued")
    assert held.startswith("held for 3 min, until 2026-03-01 12:02")
    assert tried.startswith("attempt 1")
    assert [entry.what for entry in page_timeline(told(holds=(hold,)), (), at(200))] == ["Enqueued", "Held"]


def test_a_case_that_was_found_and_not_answered_is_said_to_be_found() -> None:
    story = told(attempt(1, "unknown"), state="submitted", finalized_at=at(5), case_id="c-1")

    assert texts(story)[-1] == (
        "submitted: case (c-1), found by its creditorReference: an earlier request had created it"
    )


@pytest.mark.parametrize(
    ("reference", "said"),
    [("R1", "looked up by its creditorReference"), (None, "no creditorReference to look it up by")],
)
def test_an_unknown_outcome_says_why_no_second_case_can_come_of_it(reference: str | None, said: str) -> None:
    text = describe_status(told(state="dead", outcome_unknown=True, creditor_reference=reference))

    assert "may exist at the API" in text
    assert said in text
    assert text.endswith("so no second case is created.")


def test_advice_is_for_the_open_dead_letter() -> None:
    old, new = letter("forbidden", resolved_at=at(11)), letter("outcome_unknown")

    assert "may have arrived" in (to_do(told(letters=(old, new), state="dead")) or "")
    assert to_do(told(letters=(old,))) is None


def test_what_others_wrote_commands_nothing() -> None:
    story = told(letters=(letter(detail={"type": "T", "message": "\x1b[2J\nlast"}, solution_url="https://x/\x07"),))

    assert texts(story)[1] == "dead: validation: T: \ufffd[2J last → https://x/\ufffd"


def test_a_purged_job_and_a_sealed_case_are_told_in_words() -> None:
    purged = told(state="submitted", creditor_reference=None, purged_at=at(99))
    assert "Its case was removed 2026-03-01 12:01:39 UTC" in describe_status(purged)
    assert no_reference(purged.job) == "removed with its case"

    sealed = told(state="dead", creditor_reference=None, sealed=True, outcome_unknown=True)
    assert "If its encrypted case has a creditorReference, it is looked up by that first" in describe_status(sealed)
    assert no_reference(sealed.job) == "encrypted with its case, if it has one"
    assert no_reference(told(creditor_reference=None).job) == "none"
