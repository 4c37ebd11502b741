"""Correcting a refused case: a form with the API's field errors at the fields, then a replay."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response

from worker.errors import InvalidCase, WrongState
from worker.ledger.database import transaction
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.report.edit import Draft, correct, draft
from worker.report.web.asking import Ask
from worker.report.web.case_form import NotANumber, corrected, fields_of, typed_in
from worker.report.web.pages.job import job_id


def edit(ask: Ask) -> Response:
    """The form. It shows personal data, so it is written down who looked. Raises JobNotFound."""
    with transaction(ask.report.engine) as connection:
        found = draft(connection, job_id(ask), ask.report.protection)
        if found.refused is None:
            audit(connection, AuditAction.REVEAL, ask.acting(), ask.door | {"for": "edit"}, job_id=job_id(ask))
    if found.refused:
        return ask.page("error.html", 409, title="This case cannot be corrected", said=found.refused)
    return _page(ask, found, {}, {}, 200)


def save(ask: Ask) -> Response:
    """Keep the correction beside the old version, and replay. Raises JobNotFound."""
    typed, note = typed_in(dict(ask.form.items())), ask.text("note")
    seen = ask.text("seen", 9)
    try:
        with transaction(ask.report.engine) as connection:
            found = draft(connection, job_id(ask), ask.report.protection)
            case = corrected(found.case, typed)
            correct(
                connection, job_id(ask), case, seen=int(seen) if seen.isdecimal() else 0,
                actor=ask.acting(note or None), detail=ask.door, protection=ask.report.protection,
            )  # fmt: skip
    except NotANumber as error:
        return _again(ask, found, typed, {error.path: str(error)})
    except InvalidCase as error:
        where = error.where.removeprefix("case").lstrip(".")
        return _again(ask, found, typed, {where: error.problem})
    except WrongState as error:
        return ask.page(
            "error.html", 409, title="Nothing was changed", said=f"{str(error)[:1].upper()}{str(error)[1:]}."
        )
    return RedirectResponse(f"/jobs/{job_id(ask)}", 303)


def _again(ask: Ask, found: Draft, typed: Mapping[str, str], problems: dict[str, str]) -> Response:
    """The form with what is wrong. It shows the whole case, also to somebody who never opened the form before."""
    if found.refused:
        return ask.page("error.html", 409, title="This case cannot be corrected", said=found.refused)
    with transaction(ask.report.engine) as connection:
        audit(connection, AuditAction.REVEAL, ask.acting(), ask.door | {"for": "edit"}, job_id=job_id(ask))
    return _page(ask, found, typed, problems, 400)


def _page(ask: Ask, found: Draft, typed: Mapping[str, str], problems: dict[str, str], status: int) -> Response:
    fields = fields_of(found, typed, problems)
    shown = {field.path for field in fields}
    elsewhere = [(path, text) for path, texts in found.other_errors.items() if path not in shown for text in texts]
    elsewhere += [(path, text) for path, text in problems.items() if path not in shown]
    return ask.page(
        "edit.html", status, draft=found, wrong=[field for field in fields if field.problems],
        others=[field for field in fields if not field.problems and not field.added],
        added=[field for field in fields if not field.problems and field.added], elsewhere=elsewhere,
        note=ask.text("note"), problems=problems,
    )  # fmt: skip
