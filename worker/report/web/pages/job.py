"""One job: where it stands, what to do, everything that happened to it, and its case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from worker.case.codec import read_json
from worker.errors import CaseSealed
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import CaseVersion, Story
from worker.ledger.queries.story import mark_of
from worker.ledger.queries.waiting import fleet_waits, turn
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.report.edit import differences, opened, why_not
from worker.report.formatting import moment
from worker.report.story import no_reference, open_letter, standing, to_do
from worker.report.waiting import describe_job
from worker.report.web.asking import Ask
from worker.report.web.rendering import ShownChange, shown_case, shown_change
from worker.report.web.timeline import timeline
from worker.report.web.words import sentence


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """One correction of the case: who made it, and what it changed."""

    number: int
    version: CaseVersion
    changes: list[ShownChange]


def job(ask: Ask) -> Response:
    """The job, with personal data hidden. Raises JobNotFound."""
    return show(ask, revealed=False)


def reveal(ask: Ask) -> Response:
    """The same with personal data, once it is written down who looked."""
    with transaction(ask.report.engine) as connection:
        queries.case_versions(connection, job_id(ask))
        audit(connection, AuditAction.REVEAL, ask.acting(), ask.door, job_id=job_id(ask))
    return show(ask, revealed=True)


def to_job(ask: Ask) -> Response:
    """What is shown by a button has no address of its own to come back to."""
    return RedirectResponse(f"/jobs/{job_id(ask)}", 303)


def show(ask: Ask, *, revealed: bool) -> Response:
    """The page. Raises JobNotFound."""
    with ask.reading() as connection:
        told = queries.story(connection, job_id(ask))
        versions = queries.case_versions(connection, job_id(ask))
        waits = fleet_waits(connection, ask.report.pace)
        cap = ask.report.settings.tenant_concurrency
        why = describe_job(told.job, turn(connection, job_id(ask)), waits, tenant_cap=cap)
        now = queries.moment_of(connection)
    letter = open_letter(told)
    cases, gone = _cases(ask, told, versions)
    return ask.page(
        "job.html", job=told.job, letter=letter, entries=timeline(told, why, now), standing=standing(told),
        todo=to_do(told), said=_said(letter), revealed=revealed and not gone, gone=gone,
        case=[] if gone else shown_case(cases[-1], revealed=revealed), no_reference=no_reference(told.job),
        versions=[] if gone else _versions(versions, cases, revealed=revealed),
        editable=letter is not None and not gone and why_not(told) is None, why_not_editable=_why_not(told, letter),
    )  # fmt: skip


def _cases(ask: Ask, told: Story, versions: list[CaseVersion]) -> tuple[list[Any], str | None]:
    """All wordings as data, or why there is nothing to show."""
    if purged_at := told.job["purged_at"]:
        return [], f"It was removed {moment(purged_at)}. The job's states, attempts and dates are kept."
    try:
        readable = opened(versions, told.job["id"], ask.report.protection)
    except CaseSealed as error:
        return [], sentence(error)
    return [read_json(version.case_body, where="case") for version in readable], None


def job_id(ask: Ask) -> UUID:
    """The job that the address names. Raises HTTPException (404)."""
    try:
        return UUID(ask.request.path_params["job_id"])
    except ValueError:
        raise HTTPException(404) from None


def _said(letter: dict[str, Any] | None) -> dict[str, Any]:
    """What the API said, in the parts that the page shows."""
    detail: dict[str, Any] = letter["detail"] if letter else {}
    return {
        "type": detail.get("type"),
        "message": detail.get("message"),
        "status": detail.get("status"),
        "fields": detail["fields"] if isinstance(detail.get("fields"), dict) else {},
        "rules": [rule for rule in detail.get("businessErrors") or [] if isinstance(rule, dict)],
        "signing": detail.get("combinedSigningUrl"),
        "excerpt": detail.get("excerpt"),
    }


def _versions(versions: list[CaseVersion], cases: list[Any], *, revealed: bool) -> list[ShownVersion]:
    """The corrections, newest first."""
    made = [
        ShownVersion(
            version.number,
            version,
            [shown_change(change, revealed=revealed) for change in differences(cases[place], cases[place + 1])],
        )
        for place, version in enumerate(versions[1:])
    ]
    return made[::-1]


def _why_not(told: Story, letter: dict[str, Any] | None) -> str | None:
    """Why the case of a job that failed for its data cannot be corrected all the same."""
    return why_not(told) if letter and letter["reason"] == "validation" else None


def follow(ask: Ask) -> Response:
    """The job's state and number of requests, as one mark that changes with them. Raises JobNotFound."""
    with ask.reading() as connection:
        return JSONResponse({"mark": mark_of(connection, job_id(ask))})
