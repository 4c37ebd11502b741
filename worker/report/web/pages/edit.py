"""Correct a rejected case: a form with the API's errors at the fields, then a replay."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from worker.errors import InvalidCase, WrongState
from worker.ledger.database import transaction
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.report.edit import Draft, correct, draft
from worker.report.web.case_form import NotANumber, corrected, fields_of, typed_in
from worker.report.web.pages.job import job_id
from worker.report.web.request_context import RequestContext


def edit(context: RequestContext) -> Response:
    """Show the form. It holds personal data, so the access is audited. Raises JobNotFound."""
    with transaction(context.report.engine) as connection:
        found = draft(connection, job_id(context), context.report.protection)
        if found.refused is None:
            _audit_access(connection, context)
    if found.refused:
        return context.page("error.html", 409, title="This case cannot be corrected", message=found.refused)
    return _page(context, found, {}, {}, 200)


def save(context: RequestContext) -> Response:
    """Store the correction as a new version, and replay the job. Raises JobNotFound."""
    typed, note = typed_in(dict(context.form.items())), context.text("note")
    seen = context.text("seen", 9)
    try:
        with transaction(context.report.engine) as connection:
            found = draft(connection, job_id(context), context.report.protection)
            case = corrected(found.case, typed)
            correct(
                connection, job_id(context), case, seen=int(seen) if seen.isdecimal() else 0,
                actor=context.actor(note or None), detail=context.channel, protection=context.report.protection,
            )  # fmt: skip
    except NotANumber as error:
        return _again(context, found, typed, {error.path: str(error)})
    except InvalidCase as error:
        where = error.where.removeprefix("case").lstrip(".")
        return _again(context, found, typed, {where: error.problem})
    except WrongState as error:
        return context.page(
            "error.html", 409, title="Nothing was changed", message=f"{str(error)[:1].upper()}{str(error)[1:]}."
        )
    return RedirectResponse(f"/jobs/{job_id(context)}", 303)


def _again(context: RequestContext, found: Draft, typed: Mapping[str, str], problems: dict[str, str]) -> Response:
    """Show the form with its errors. Audit the access again: this user may not have opened the form before."""
    if found.refused:
        return context.page("error.html", 409, title="This case cannot be corrected", message=found.refused)
    with transaction(context.report.engine) as connection:
        _audit_access(connection, context)
    return _page(context, found, typed, problems, 400)


def _audit_access(connection: Connection, context: RequestContext) -> None:
    detail = context.channel | {"for": "edit"}
    audit(connection, AuditAction.REVEAL, context.actor(), detail, job_id=job_id(context))


def _page(
    context: RequestContext, found: Draft, typed: Mapping[str, str], problems: dict[str, str], status: int
) -> Response:
    fields = fields_of(found, typed, problems)
    shown = {field.path for field in fields}
    elsewhere = [(path, text) for path, texts in found.other_errors.items() if path not in shown for text in texts]
    elsewhere += [(path, text) for path, text in problems.items() if path not in shown]
    return context.page(
        "edit.html", status, draft=found, wrong=[field for field in fields if field.problems],
        others=[field for field in fields if not field.problems and not field.added],
        added=[field for field in fields if not field.problems and field.added], elsewhere=elsewhere,
        note=context.text("note"), problems=problems,
    )  # fmt: skip
