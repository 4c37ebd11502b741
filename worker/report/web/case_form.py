"""Convert a case to a form and back. Untouched fields keep their exact value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from worker.case.fields import as_text, leaves
from worker.report.edit import MISSING, Draft
from worker.report.formatting import parse_amount

#: Fields to offer when a case lacks them (referral-partners/integration-guides/case-submission).
_OFFERED = (
    "currencyCode", "amountToRecover", "date", "dueDate", "creditorReference", "claimDescription", "comments",
    "debtor.type", "debtor.name", "debtor.address", "debtor.zipCode", "debtor.city", "debtor.countryAlpha2",
    "debtor.stateAlpha2", "debtor.email", "debtor.phone", "debtor.contactPerson", "debtor.companyRegistrationNumber",
)  # fmt: skip
_NUMBERS = ("amount",)
_FLAGS = ("allowPendingContracts", "isTest")
#: Prefix of the case's fields in the form, so that they can't collide with our own.
PREFIX = "case:"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form."""

    number: int
    """Its place in the form."""
    path: str
    text: str
    problems: list[str]
    long: bool
    added: bool
    """Whether the case lacks it."""


class NotANumber(ValueError):
    """The value of a numeric field is not a number."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(problem)
        self.path = path


def fields_of(draft: Draft, typed: Mapping[str, str], problems: Mapping[str, str]) -> list[Field]:
    """The form's fields: those with problems first, then the case's other fields, then those that can be added.

    `typed` holds the values entered so far, `problems` their errors; both by path.
    """
    has = {path: value for path, value in leaves(draft.case) if not isinstance(value, dict | list)}
    errors = {**draft.errors, **draft.other_errors}
    paths = list(dict.fromkeys([*has, *(p for p in errors if _can_be_added(draft.case, p)), *_offered(draft.case)]))
    found = []
    for number, path in enumerate(paths):
        text = typed.get(path, as_text(has[path]) if path in has and has[path] is not None else "")
        wrong = ([problems[path]] if path in problems else []) + list(errors.get(path, []))
        found.append(Field(number, path, text, wrong, len(text) > 90 or "\n" in text, path not in has))
    return sorted(found, key=lambda field: (not field.problems, field.added))


def corrected(case: dict[str, Any], typed: Mapping[str, str]) -> dict[str, Any]:
    """The case with the entered values. An emptied field is removed. Raises NotANumber."""
    has = dict(leaves(case))
    changes: dict[str, Any] = {}
    for path, text in typed.items():
        old = has.get(path, MISSING)
        if isinstance(old, dict | list) or _same(old, text):
            continue
        if path not in has and not _can_be_added(case, path):
            continue
        changes[path] = MISSING if not text.strip() else _value(path, old, text)
    made: dict[str, Any] = _rebuilt(case, "", changes)
    for path, value in changes.items():
        if path not in has and value is not MISSING:
            parent, _, name = path.rpartition(".")
            (made[parent] if parent else made)[name] = value
    return made


def typed_in(form: Mapping[str, Any]) -> dict[str, str]:
    """The submitted values of the case's fields, by path."""
    return {
        name.removeprefix(PREFIX): value.replace("\r\n", "\n")
        for name, value in form.items()
        if name.startswith(PREFIX) and isinstance(value, str)
    }


def _offered(case: dict[str, Any]) -> list[str]:
    flat = "claims" not in case
    return [path for path in _OFFERED if _can_be_added(case, path) and (flat or path.startswith("debtor."))]


def _can_be_added(case: dict[str, Any], path: str) -> bool:
    parent, _, name = path.rpartition(".")
    place = case.get(parent) if parent else case
    return isinstance(place, dict) and name not in place and name.isidentifier() and "." not in parent


def _same(old: Any, text: str) -> bool:
    return (old is MISSING and not text.strip()) or (
        old is not MISSING and text == ("" if old is None else as_text(old).replace("\r\n", "\n"))
    )


def _value(path: str, old: Any, text: str) -> Any:
    name = path.rpartition(".")[2]
    if isinstance(old, bool) or (old is MISSING and name in _FLAGS):
        return text.strip().lower() == "true" if text.strip().lower() in {"true", "false"} else text
    if isinstance(old, int | float | Decimal) or (old in (MISSING, None) and name.startswith(_NUMBERS)):
        try:
            return parse_amount(text)
        except ValueError as error:
            raise NotANumber(path, str(error)) from None
    return text.strip() if "\n" not in text else text


def _rebuilt(value: Any, path: str, changes: Mapping[str, Any]) -> Any:
    match value:
        case dict() if value:
            inner = {name: (f"{path}.{name}" if path else name, member) for name, member in value.items()}
            return {
                name: _rebuilt(member, place, changes)
                for name, (place, member) in inner.items()
                if changes.get(place) is not MISSING
            }
        case list() if value:
            return [_rebuilt(member, f"{path}[{index}]", changes) for index, member in enumerate(value)]
    new = changes.get(path, value)
    return value if new is MISSING else new
