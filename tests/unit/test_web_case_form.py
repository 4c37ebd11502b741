"""A case as a form: untouched fields stay exactly the same, edited ones arrive."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ledger.queries import CaseVersion
from worker.report.edit import Draft
from worker.report.web.case_form import NotANumber, corrected, fields_of, typed_in

CASE: dict[str, Any] = {
    "currencyCode": "DKK",
    "amountToRecover": Decimal("1250.10"),
    "isTest": False,
    "tag": None,
    "comments": "two\r\nlines",
    "debtor": {"name": "Åse", "email": "not an address", "notes": {}, "tags": ["a", "b"]},
}
NAMES = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.decimals(-(10**9), 10**9, places=4)
    | st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=20)
)  # fmt: skip
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def draft(case: dict[str, Any], **errors: list[str]) -> Draft:
    at = {path: texts for path, texts in errors.items() if path in case}
    version = CaseVersion(1, "{}", datetime(2026, 1, 1, tzinfo=UTC), None, None)
    return Draft(UUID(int=1), version, case, at, {p: t for p, t in errors.items() if p not in at}, None)


def as_posted(case: dict[str, Any]) -> dict[str, str]:
    """What a browser sends for an untouched form: line breaks become CR LF."""
    fields = fields_of(draft(case), {}, {})
    return {f"case:{field.path}": field.text.replace("\r\n", "\n").replace("\n", "\r\n") for field in fields}


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_an_untouched_form_is_the_same_case(case: dict[str, Any]) -> None:
    case = {**case, "debtor": {"name": "x"}}

    assert corrected(case, typed_in(as_posted(case))) == case


def test_what_was_typed_arrives_with_its_type() -> None:
    form = as_posted(CASE) | {
        "case:debtor.email": " aase@example.com ", "case:amountToRecover": "1,300.00", "case:isTest": "true",
        "case:debtor.tags[1]": "c", "case:debtor.phone": "+45 1", "case:dueDate": "2026-01-31",
    }  # fmt: skip

    made = corrected(CASE, typed_in(form))

    assert made == {
        **CASE, "amountToRecover": Decimal("1300.00"), "isTest": True, "dueDate": "2026-01-31",
        "debtor": {**CASE["debtor"], "email": "aase@example.com", "tags": ["a", "c"], "phone": "+45 1"},
    }  # fmt: skip


def test_an_emptied_field_is_taken_out() -> None:
    made = corrected(CASE, {"debtor.email": "", "currencyCode": " "})

    assert "email" not in made["debtor"]
    assert "currencyCode" not in made


def test_a_number_stays_a_number() -> None:
    with pytest.raises(NotANumber) as caught:
        corrected(CASE, {"amountToRecover": "a lot"})
    assert caught.value.path == "amountToRecover"
    with pytest.raises(NotANumber, match="not a comma"):
        corrected(CASE, {"amountToRecover": "1250,50"})


def test_a_form_cannot_reach_beside_the_case() -> None:
    assert (
        corrected(CASE, {"__class__.x": "1", "debtor.name.x": "1", "nowhere.email": "1", "claims[0].amount": "1"})
        == CASE
    )


def test_fields_with_problems_come_first_and_missing_ones_can_be_filled_in() -> None:
    made = draft(CASE, currencyCode=["Unknown currency."], dueDate=["Required."])

    fields = fields_of(made, {"currencyCode": "EURO"}, {"currencyCode": "has four letters"})

    assert [(f.path, f.text, f.problems) for f in fields[:2]] == [
        ("currencyCode", "EURO", ["has four letters", "Unknown currency."]), ("dueDate", "", ["Required."]),
    ]  # fmt: skip
    assert {"debtor.phone", "debtor.city"} <= {f.path for f in fields if f.added}
