"""The differences between two cases, and which API error belongs to which field."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.case.fields import leaves
from worker.report.edit import MISSING, Change, differences, errors_by_path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": Decimal("1250.10")}, {"a": 1250.1}, []),
        ({"a": 1}, {"a": True}, [Change("a", 1, True)]),
        ({"a": "1"}, {"a": 1}, [Change("a", "1", 1)]),
        ({"a": None}, {}, [Change("a", None, MISSING)]),
        ({}, {"a": None}, [Change("a", MISSING, None)]),
        ({"debtor": {"email": "x", "name": "n"}}, {"debtor": {"email": "y", "name": "n"}},
         [Change("debtor.email", "x", "y")]),
        ({"claims": [{"amount": 1}, {"amount": 2}]}, {"claims": [{"amount": 1}, {"amount": 3}, {}]},
         [Change("claims[1].amount", 2, 3), Change("claims[2]", MISSING, {})]),
        ({"a": {"b": 1}}, {"a": [1]}, [Change("a", {"b": 1}, [1])]),
        ([], {}, [Change("", [], {})]),
    ],
)  # fmt: skip
def test_changes_are_named_by_their_path(old: Any, new: Any, changes: list[Change]) -> None:
    assert differences(old, new) == changes


@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert differences(value, value) == []


@given(JSON, JSON)
def test_the_way_back_is_the_same_changes_turned_round(old: Any, new: Any) -> None:
    forth = {(change.path, repr(change.old), repr(change.new)) for change in differences(old, new)}
    back = {(change.path, repr(change.new), repr(change.old)) for change in differences(new, old)}

    assert forth == back


def test_leaves_are_what_a_form_shows() -> None:
    assert leaves({"a": {"b": [1, {"c": None}]}, "d": {}}) == [("a.b[0]", 1), ("a.b[1].c", None), ("d", {})]


def test_errors_stand_at_their_fields_however_the_api_writes_them() -> None:
    case = {"debtor": {"email": "x", "zipCode": "1"}, "claims": [{"amount": 1}]}
    at, elsewhere = errors_by_path(
        case,
        {
            "Debtor.Email": ["Invalid"], "$.debtor.zipCode": ["Too short"], "case.claims[0].amount": ["Too low"],
            "debtor": ["Incomplete"], "currencyCode": ["Missing"],
        },
    )  # fmt: skip

    assert at == {
        "debtor.email": ["Invalid"], "debtor.zipCode": ["Too short"], "claims[0].amount": ["Too low"],
        "debtor": ["Incomplete"],
    }  # fmt: skip
    assert elsewhere == {"currencyCode": ["Missing"]}
