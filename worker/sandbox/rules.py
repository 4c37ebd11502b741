"""The field rules of POST /cases: pure functions from a body to its field errors (the API's 400).

Source: the published description (CreateCollectionCaseRequestApiViewModel and the rules in the operation's text) and
referral-partners/integration-guides/case-submission. Two body shapes are accepted:

- the flat one of the description, with `currencyCode` and `amountToRecover` beside `debtor`;
- `{"debtor": {...}, "claims": [...]}` of the authentication page. Then the currency, the amount, the dates and the
  creditorReference come from the claims unless the top level gives them. A claim is an object with `amount`
  and `currencyCode`, and optionally `reference` or `creditorReference`, `date` and `dueDate`; all claims of a case
  are in one currency, and their amounts add up.

Unknown top-level fields are tolerated, and null counts as absent. The description says `Person` in one place and
`Private` in another for debtor.type; the operation's own rules say `Private`, so this module accepts only that.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any
from uuid import UUID

from worker.sandbox import tags

Errors = dict[str, list[str]]

MAX_LENGTHS = {
    "comments": 4000,
    "claimDescription": 4000,
    "creditorReference": 50,
    "tag": 100,
    "assignedUserEmail": 320,
    "returnUrl": 2048,
}
DATES = ("date", "dueDate")
FLAGS = ("allowPendingContracts", "isTest", "skipDebituraVerification", "skipCreationEmails")
IDS = ("creditorDivisionId", "collectionPartnerId")
AGE_BUCKETS = ("amountToRecoverOver6Months", "amountToRecoverOver12Months", "amountToRecoverOver24Months")
DEBTOR_TEXTS = (
    "address", "city", "zipCode", "state", "stateAlpha2", "country", "email", "phone", "contactPerson",
    "companyRegistrationNumber",
)  # fmt: skip

_CURRENCY = re.compile(r"[A-Za-z]{3}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


def field_errors(case: dict[str, Any]) -> Errors:
    """All field errors of the body, by path (`debtor.email`, `claims[0].amount`); empty if there are none."""
    errors: Errors = {}
    for name, limit in MAX_LENGTHS.items():
        if name in case:
            _check_text(errors, name, case[name], limit)
    for name in DATES:
        _check_date(errors, name, case.get(name))
    for name in FLAGS:
        if case.get(name) is not None and not isinstance(case[name], bool):
            errors[name] = ["The value must be true or false."]
    for name in IDS:
        _check_id(errors, name, case.get(name))
    if case.get("assignedUserEmail") is not None and "assignedUserEmail" not in errors:
        _check_email(errors, "assignedUserEmail", case["assignedUserEmail"])
    _check_amounts(errors, case)
    if case.get("claims") is not None:
        _check_claims(errors, case["claims"])
    _check_currency(errors, "currencyCode", case.get("currencyCode"), required=case.get("claims") is None)
    _check_debtor(errors, case.get("debtor"))
    if case.get("tag") is not None and "tag" not in errors and (complaint := tags.complaint(case["tag"])):
        errors["tag"] = [complaint]
    return errors


def parse_date(value: str) -> datetime:
    """An ISO 8601 date or date-time. Raises ValueError for anything else."""
    return datetime.fromisoformat(value)


def is_amount(value: object) -> bool:
    """Whether the value is a finite JSON number (a boolean is not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_text(errors: Errors, path: str, value: object, limit: int | None = None) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        errors[path] = ["The value must be a string."]
    elif limit is not None and len(value) > limit:
        errors[path] = [f"The field {path} must be a string with a maximum length of {limit}."]


def _check_date(errors: Errors, path: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        errors[path] = ["The value must be an ISO 8601 date."]
        return
    try:
        parse_date(value)
    except ValueError:
        errors[path] = [f"The value '{value[:40]}' is not an ISO 8601 date."]


def _check_id(errors: Errors, path: str, value: object) -> None:
    if value is None:
        return
    try:
        UUID(value if isinstance(value, str) else "")
    except ValueError:
        errors[path] = ["The value must be a UUID."]


def _check_email(errors: Errors, path: str, value: object) -> None:
    if isinstance(value, str) and not _EMAIL.fullmatch(value):
        errors[path] = ["Invalid email format"]


def _check_amounts(errors: Errors, case: dict[str, Any]) -> None:
    total = case.get("amountToRecover")
    if total is not None and not (is_amount(total) and total > 0):
        errors["amountToRecover"] = ["The amount to recover must be a number greater than 0."]
        total = None
    given = {name: case[name] for name in AGE_BUCKETS if case.get(name) is not None}
    if not given:
        return
    for name, value in given.items():
        if not (is_amount(value) and value >= 0):
            errors[name] = ["The amount must be a number of at least 0."]
            return
    over12, over24 = given.get(AGE_BUCKETS[1]), given.get(AGE_BUCKETS[2])
    if over12 is None or over24 is None:
        missing = AGE_BUCKETS[1] if over12 is None else AGE_BUCKETS[2]
        errors[missing] = ["The amounts over 12 and over 24 months must be given together."]
        return
    present: list[float] = [a for a in (total, given.get(AGE_BUCKETS[0]), over12, over24) if a is not None]
    if present != sorted(present, reverse=True):
        errors[AGE_BUCKETS[1]] = ["Older amounts must not exceed younger ones or the amount to recover."]


def _check_currency(errors: Errors, path: str, value: object, *, required: bool) -> None:
    if value is None or value == "":
        if required:
            errors[path] = [f"The {path.rpartition('.')[2]} field is required."]
    elif not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        errors[path] = ["The currency must be an ISO 4217 code of three letters."]


def _check_claims(errors: Errors, claims: object) -> None:
    if not isinstance(claims, list) or not claims:
        errors["claims"] = ["The value must be a list with at least one claim."]
        return
    for number, claim in enumerate(claims):
        path = f"claims[{number}]"
        if not isinstance(claim, dict):
            errors[path] = ["The value must be an object."]
            continue
        amount = claim.get("amount")
        if amount is None or not is_amount(amount) or amount <= 0:
            errors[f"{path}.amount"] = ["The amount must be a number greater than 0."]
        _check_currency(errors, f"{path}.currencyCode", claim.get("currencyCode"), required=True)
        if isinstance(claims[0], dict) and claim.get("currencyCode") != claims[0].get("currencyCode"):
            errors.setdefault(f"{path}.currencyCode", ["All claims of a case must be in one currency."])
        for name in ("reference", "creditorReference"):
            _check_text(errors, f"{path}.{name}", claim.get(name), MAX_LENGTHS["creditorReference"])
        for name in DATES:
            _check_date(errors, f"{path}.{name}", claim.get(name))


def _check_debtor(errors: Errors, debtor: object) -> None:
    if not isinstance(debtor, dict):
        errors["debtor"] = ["The debtor field is required." if debtor is None else "The value must be an object."]
        return
    if debtor.get("type") not in ("Company", "Private"):
        errors["debtor.type"] = ["The debtor type must be Company or Private."]
    name = debtor.get("name")
    if not isinstance(name, str) or not name.strip():
        errors["debtor.name"] = ["The name field is required."]
    for field in DEBTOR_TEXTS:
        if not isinstance(debtor.get(field), str | None):
            errors[f"debtor.{field}"] = ["The value must be a string."]
    country = debtor.get("countryAlpha2")
    if not isinstance(country, str) or not _COUNTRY.fullmatch(country):
        errors["debtor.countryAlpha2"] = ["The country must be an ISO 3166-1 code of two letters."]
    elif country.upper() == "US" and not debtor.get("stateAlpha2"):
        errors["debtor.stateAlpha2"] = ["The stateAlpha2 field is required for debtors in the United States."]
    _check_email(errors, "debtor.email", debtor.get("email"))
