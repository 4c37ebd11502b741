"""One job: its status, what to do, its timeline and its case."""

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
from worker.ledger.queries.story import change_tag
from worker.ledger.queries.waiting import fleet_waits, turn
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.report.edit import decrypted, differences, why_not_editable
from worker.report.formatting import moment
from worker.report.story import describe_status, no_reference, open_letter, to_do
from worker.report.waiting import describe_job
from worker.report.web.labels import sentence
from worker.report.web.rendering import ShownChange, shown_case, shown_change
from worker.report.web.request_context import RequestContext
from worker.report.web.timeline import timeline


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """One correction of the case: who made it, and what it changed."""

    number: int
    version: CaseVersion
    changes: list[ShownChange]


def job(context: RequestContext) -> Response:
    """Show the job with personal data hidden. Raises JobNotFound."""
    return show(context, revealed=False)


def reveal(context: RequestContext) -> Response:
    """Show the job with personal data, after auditing the access."""
    with transaction(context.report.engine) as connection:
        queries.case_versions(connection, job_id(context))
        audit(connection, AuditAction.REVEAL, context.actor(), context.channel, job_id=job_id(context))
    return show(context, revealed=True)


def to_job(context: RequestContext) -> Response:
    """Redirect a GET on a POST-only address to the job."""
    return RedirectResponse(f"/jobs/{job_id(context)}", 303)


def show(context: RequestContext, *, revealed: bool) -> Response:
    """Render the page. Raises JobNotFound."""
    with context.snapshot() as connection:
        story = queries.story(connection, job_id(context))
        versions = queries.case_versions(connection, job_id(context))
        waits = fleet_waits(connection, context.report.pace)
        cap = context.report.settings.tenant_concurrency
        why = describe_job(story.job, turn(connection, job_id(context)), waits, tenant_cap=cap)
        now = queries.moment_of(connection)
    letter = open_letter(story)
    cases, gone = _cases(context, story, versions)
    return context.page(
        "job.html", job=story.job, letter=letter, entries=timeline(story, why, now), status_text=describe_status(story),
        todo=to_do(story), api_error=_api_error(letter), revealed=revealed and not gone, gone=gone,
        case=[] if gone else shown_case(cases[-1], revealed=revealed), no_reference=no_reference(story.job),
        versions=[] if gone else _versions(versions, cases, revealed=revealed),
        editable=letter is not None and not gone and why_not_editable(story) is None,
        why_not_editable=_why_not_correctable(story, letter),
    )  # fmt: skip


def _cases(context: RequestContext, story: Story, versions: list[CaseVersion]) -> tuple[list[Any], str | None]:
    """All versions of the case as data, or why none can be shown."""
    if purged_at := story.job["purged_at"]:
        return [], f"The case was removed {moment(purged_at)}. The job's states, attempts and dates are kept."
    try:
        readable = decrypted(versions, story.job["id"], context.report.protection)
    except CaseSealed as error:
        return [], sentence(error)
    return [read_json(version.case_body, where="case") for version in readable], None


def job_id(context: RequestContext) -> UUID:
    """The job id in the address. Raises HTTPException (404)."""
    try:
        return UUID(context.request.path_params["job_id"])
    except ValueError:
        raise HTTPException(404) from None


def _api_error(letter: dict[str, Any] | None) -> dict[str, Any]:
    """The API's error, in the parts that the page shows."""
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


def _why_not_correctable(story: Story, letter: dict[str, Any] | None) -> str | None:
    """Why the case cannot be corrected although the API rejected its data, or None."""
    return why_not_editable(story) if letter and letter["reason"] == "validation" else None


def follow(context: RequestContext) -> Response:
    """A tag that changes with the job's state and number of requests. Raises JobNotFound."""
    with context.snapshot() as connection:
        return JSONResponse({"mark": change_tag(connection, job_id(context))})
