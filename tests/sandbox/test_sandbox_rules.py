"""Field rules and business rules of POST /cases (the published description)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sandbox_partner import VALID_CASE, Partner
from worker.sandbox.rules import field_errors

CLAIM = {"amount": 100.5, "currencyCode": "EUR", "reference": "F-1", "date": "2026-01-01"}


def with_debtor(**changes: Any) -> dict[str, Any]:
    debtor = VALID_CASE["debtor"] | changes
    return Partner.case(debtor={name: value for name, value in debtor.items() if value is not None})


@pytest.mark.parametrize(
    ("case", "field"),
    [
        (Partner.case(currencyCode=None), "currencyCode"),
        (Partner.case(currencyCode="EURO"), "currencyCode"),
        (Partner.case(currencyCode=208), "currencyCode"),
        (Partner.case(debtor=None), "debtor"),
        (Partner.case(debtor="Ærø"), "debtor"),
        (with_debtor(type="Person"), "debtor.type"),
        (with_debtor(type=None), "debtor.type"),
        (with_debtor(name=None), "debtor.name"),
        (with_debtor(name="  "), "debtor.name"),
        (with_debtor(countryAlpha2=None), "debtor.countryAlpha2"),
        (with_debtor(countryAlpha2="DNK"), "debtor.countryAlpha2"),
        (with_debtor(countryAlpha2="US"), "debtor.stateAlpha2"),
        (with_debtor(email="nobody"), "debtor.email"),
        (with_debtor(email="a b@example.com"), "debtor.email"),
        (with_debtor(phone=45), "debtor.phone"),
        (Partner.case(creditorReference="x" * 51), "creditorReference"),
        (Partner.case(creditorReference=7), "creditorReference"),
        (Partner.case(comments="x" * 4001), "comments"),
        (Partner.case(claimDescription="x" * 4001), "claimDescription"),
        (Partner.case(amountToRecover=0), "amountToRecover"),
        (Partner.case(amountToRecover=-5), "amountToRecover"),
        (Partner.case(amountToRecover="12.50"), "amountToRecover"),
        (Partner.case(amountToRecover=True), "amountToRecover"),
        (Partner.case(amountToRecoverOver12Months=5), "amountToRecoverOver24Months"),
        (
            Partner.case(amountToRecoverOver12Months=5, amountToRecoverOver24Months=6),
            "amountToRecoverOver12Months",
        ),
        (Partner.case(amountToRecoverOver6Months="5"), "amountToRecoverOver6Months"),
        (Partner.case(date="01/02/2026"), "date"),
        (Partner.case(dueDate=20260201), "dueDate"),
        (Partner.case(isTest="yes"), "isTest"),
        (Partner.case(collectionPartnerId="7"), "collectionPartnerId"),
        (Partner.case(assignedUserEmail="nobody"), "assignedUserEmail"),
        (Partner.case(tag="x" * 101), "tag"),
        (Partner.case(tag="sandbox:typo"), "tag"),
        (Partner.case(tag="sandbox:status=99"), "tag"),
        (Partner.case(claims=[]), "claims"),
        (Partner.case(claims=["F-1"]), "claims[0]"),
        (Partner.case(claims=[CLAIM, CLAIM | {"amount": -1}]), "claims[1].amount"),
        (Partner.case(claims=[CLAIM | {"currencyCode": None}]), "claims[0].currencyCode"),
        (Partner.case(claims=[CLAIM, CLAIM | {"currencyCode": "DKK"}]), "claims[1].currencyCode"),
        (Partner.case(claims=[CLAIM | {"reference": "x" * 51}]), "claims[0].reference"),
        (Partner.case(claims=[CLAIM | {"dueDate": "soon"}]), "claims[0].dueDate"),
    ],
)
def test_given_one_bad_field_when_checked_then_just_that_field_is_named(case: dict[str, Any], field: str) -> None:
    assert list(field_errors(case)) == [field]


@pytest.mark.parametrize(
    "case",
    [
        Partner.case(),
        Partner.case(amountToRecover=None),
        Partner.case(unknownField={"kept": True}),
        Partner.case(creditorReference="x" * 50, comments="x" * 4000, claimDescription="x" * 4000),
        Partner.case(amountToRecoverOver6Months=900, amountToRecoverOver12Months=500, amountToRecoverOver24Months=0),
        Partner.case(date="2026-01-10T10:00:00+01:00", tag="nightly", isTest=True),
        with_debtor(countryAlpha2="US", stateAlpha2="CA"),
        with_debtor(type="Private", email=None),
        {"debtor": VALID_CASE["debtor"], "claims": [CLAIM, CLAIM]},
    ],
)
def test_given_a_valid_case_when_checked_then_there_is_nothing_to_complain_about(case: dict[str, Any]) -> None:
    assert field_errors(case) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted({*VALID_CASE, "claims", "tag", "isTest", "creditorDivisionId"})), json_values)
def test_given_any_json_in_a_field_when_checked_then_the_rules_answer_and_never_fail(field: str, value: object) -> None:
    errors = field_errors(VALID_CASE | {field: value})

    assert all(messages and all(isinstance(text, str) for text in messages) for messages in errors.values())


def test_given_several_bad_fields_when_posted_then_400_names_them_all(partner: Partner) -> None:
    answer = partner.post(with_debtor(email="nobody", name=None) | {"currencyCode": ""})

    assert answer.status_code == 400
    assert answer.json() == {
        "currencyCode": ["The currencyCode field is required."],
        "debtor.name": ["The name field is required."],
        "debtor.email": ["Invalid email format"],
    }
    assert partner.stats()["cases"] == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"case"', b'{"currencyCode": NaN}', b"\xff", b'{"n": ' + b"[" * 100_000]
)
def test_given_a_body_that_is_no_json_object_when_posted_then_problem_details(partner: Partner, body: bytes) -> None:
    headers = partner.headers() | {"Content-Type": "application/json"}

    answer = partner.http.post(f"{partner.url}/cases", data=body, headers=headers, timeout=10)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["status"] == 400


def test_given_claims_when_posted_then_amounts_add_up_and_the_first_reference_counts(partner: Partner) -> None:
    case = {"debtor": VALID_CASE["debtor"], "claims": [CLAIM, CLAIM | {"reference": "F-2", "amount": 0.2}]}

    answer = partner.post(case).json()

    assert (answer["grossAmount"], answer["currency"], answer["creditorReference"]) == (100.7, "EUR", "F-1")
    assert answer["date"].startswith("2026-01-01")
    assert partner.get("/cases/by-creditor-reference/F-1").json() == answer


def test_given_a_used_reference_when_posted_again_then_duplicate_for_that_creditor_only(partner: Partner) -> None:
    assert partner.post(partner.case(creditorReference="R"), tenant="a", key="1").status_code == 200

    duplicate = partner.post(partner.case(creditorReference="R"), tenant="a", key="2")

    assert duplicate.status_code == 422
    assert [error["type"] for error in duplicate.json()["businessErrors"]] == ["DuplicateReference"]
    assert partner.post(partner.case(creditorReference="R"), tenant="b").status_code == 200
    assert partner.post(partner.case(creditorReference="r"), tenant="a").status_code == 200
    assert partner.stats()["max_cases_per_reference"] == 1


@pytest.mark.parametrize(
    ("tenant", "case", "kind"),
    [
        ("blocked-1", Partner.case(), "CreditorBlocked"),
        ("acme", with_debtor(countryAlpha2="AQ"), "NoPartnerAvailable"),
        ("acme", with_debtor(countryAlpha2="kp"), "NoPartnerAvailable"),
    ],
)
def test_given_a_rule_against_the_case_when_posted_then_422_names_it(
    partner: Partner, tenant: str, case: dict[str, Any], kind: str
) -> None:
    answer = partner.post(case, tenant=tenant)

    assert answer.status_code == 422
    assert answer.json()["businessErrors"][0]["type"] == kind
    assert "signingHandoff" not in answer.json()


@pytest.mark.parametrize("back", ["/relative", "javascript:alert(1)", "https://x.example/\r\nSet-Cookie: a"])
def test_given_an_unusable_return_url_when_signing_is_due_then_it_is_dropped(partner: Partner, back: str) -> None:
    answer = partner.post(partner.case(returnUrl=back), tenant="unfinished-1").json()

    assert "returnUrl" not in answer["signingHandoff"]["combinedSigningUrl"]


@pytest.mark.parametrize("path", ["/cases/7", "/cases/by-creditor-reference/none", "/cases/case-reference/AAAAAAAA"])
def test_given_no_such_case_when_looked_up_then_an_api_error(partner: Partner, path: str) -> None:
    answer = partner.get(path)

    assert answer.status_code == (400 if path == "/cases/7" else 404)
    assert answer.json().keys() == {"error", "message", "businessErrors"}
