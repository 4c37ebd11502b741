"""Admission of cases: what is accepted and refused, and the default idempotency key."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from worker.case.codec import read_json
from worker.errors import InvalidCase
from worker.intake.enqueue import MAX_NAME, admit
from worker.ledger.states import Priority

CASE: dict[str, Any] = {"currencyCode": "DKK", "amountToRecover": Decimal("1250.10"), "debtor": {"name": "Ærø ApS"}}


def case(**changes: Any) -> dict[str, Any]:
    return CASE | changes


@pytest.mark.parametrize(
    ("arguments", "where", "words"),
    [
        ({"external_tenant_id": None}, "external_tenant_id", "is missing"),
        ({"external_tenant_id": ""}, "external_tenant_id", "has 0 characters"),
        ({"external_tenant_id": "x" * 256}, "external_tenant_id", "has 256 characters; 1 to 255"),
        ({"external_tenant_id": 42}, "external_tenant_id", "should be text, not a number"),
        ({"external_tenant_id": ["x"]}, "external_tenant_id", "should be text, not a list"),
        ({"external_tenant_id": "a\x00"}, "external_tenant_id", "NUL"),
        ({"external_tenant_id": "\ud800"}, "external_tenant_id", "surrogate"),
        ({"idempotency_key": ""}, "idempotency_key", "has 0 characters"),
        ({"idempotency_key": "k" * 256}, "idempotency_key", "has 256 characters"),
        ({"idempotency_key": 7}, "idempotency_key", "should be text"),
        ({"idempotency_key": "a\x00"}, "idempotency_key", "NUL"),
        ({"case": None}, "case", "should be an object, not null"),
        ({"case": []}, "case", "should be an object, not a list"),
        ({"case": "{}"}, "case", "should be an object, not text"),
        ({"case": {}}, "case.debtor", "is missing"),
        ({"case": {"debtor": None}}, "case.debtor", "is null"),
        ({"case": {"debtor": "ACME"}}, "case.debtor", "is text"),
        ({"case": {"debtor": [{}]}}, "case.debtor", "is a list"),
        ({"case": case(date=date(2026, 1, 1))}, "case.date", "dates as YYYY-MM-DD"),
        ({"case": case(x=float("nan"))}, "case.x", "not a JSON number"),
        ({"case": case(x="x" * 1024 * 1024)}, "case", "1 MiB"),
        ({"case": case(debtor={"name": "\x00"})}, "case.debtor.name", "NUL"),
        ({"case": case(x=10**5000)}, "case.x", "digits"),
        ({"priority": "urgent"}, "priority", "high, normal or low"),
        ({"priority": None}, "priority", "high, normal or low"),
        ({"priority": ["high"]}, "priority", "high, normal or low"),
        ({"priority": 0}, "priority", "high, normal or low"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value[:25],
)
def test_bad_input_is_refused_with_what_and_where(arguments: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(InvalidCase) as refused:
        admit(**{"external_tenant_id": "acme", "case": CASE} | arguments)

    assert refused.value.where == where
    assert words in refused.value.problem
    assert str(refused.value) == f"{where}: {refused.value.problem}"


def test_names_may_have_255_characters_of_any_language() -> None:
    job = admit("Ω" * MAX_NAME, CASE, "键" * MAX_NAME)

    assert (job.external_tenant_id, job.idempotency_key) == ("Ω" * 255, "键" * 255)


def test_names_are_taken_to_the_letter() -> None:
    """Tenant ids are case-sensitive (referral-partners/getting-started/authentication)."""
    assert admit(" Acme ", CASE, " k ").external_tenant_id == " Acme "
    assert admit(" Acme ", CASE, " k ").idempotency_key == " k "


@pytest.mark.parametrize("word", ["high", "normal", "low"])
def test_each_of_the_three_priorities_is_accepted(word: str) -> None:
    assert admit("acme", CASE, None, word).priority is Priority.parse(word)


def test_a_case_with_a_reference_has_it_as_its_key() -> None:
    assert admit("acme", case(creditorReference="INV-1")).idempotency_key == "ref:INV-1"


@pytest.mark.parametrize("reference", [None, "", 12, ["x"], "r" * 252], ids=repr)
def test_a_case_without_a_usable_reference_has_its_digest_as_its_key(reference: Any) -> None:
    key = admit("acme", case(creditorReference=reference)).idempotency_key

    assert key.startswith("sha256:")
    assert len(key) == len("sha256:") + 64


def test_the_longest_reference_that_fits_is_still_the_key() -> None:
    assert admit("acme", case(creditorReference="r" * 251)).idempotency_key == "ref:" + "r" * 251


def test_a_given_key_beats_the_reference() -> None:
    assert admit("acme", case(creditorReference="INV-1"), "mine").idempotency_key == "mine"


def test_the_default_key_does_not_depend_on_spelling() -> None:
    one = admit("acme", {"debtor": {"name": "x"}, "amountToRecover": 1250.1})
    other = admit("acme", {"amountToRecover": Decimal("1250.10"), "debtor": {"name": "x"}})

    assert one.idempotency_key == other.idempotency_key


@pytest.mark.parametrize(
    ("fields", "amount", "currency"),
    [
        ({}, Decimal("1250.10"), "DKK"),
        ({"amountToRecover": 0.1}, Decimal("0.1"), "DKK"),
        ({"amountToRecover": True}, None, "DKK"),
        ({"amountToRecover": "1250"}, None, "DKK"),
        ({"amountToRecover": 10**15}, None, "DKK"),
        ({"amountToRecover": -(10**15)}, None, "DKK"),
        ({"amountToRecover": 10**400}, None, "DKK"),
        ({"amountToRecover": 1e300}, None, "DKK"),
        ({"amountToRecover": Decimal("1E-9999999")}, Decimal(0), "DKK"),
        ({"amountToRecover": Decimal("1E+9999999")}, None, "DKK"),
        ({"currencyCode": "kroner"}, Decimal("1250.10"), None),
        ({"currencyCode": None}, Decimal("1250.10"), None),
        ({"currencyCode": "KØB"}, Decimal("1250.10"), None),
        ({"amountToRecover": None, "claims": [{"amount": 1.1}, {"amount": 2}]}, Decimal("3.1"), "DKK"),
        ({"amountToRecover": None, "claims": [{"amount": 1}, {"amount": "x"}]}, None, "DKK"),
        ({"amountToRecover": None, "claims": [1, "x", None]}, None, "DKK"),
        ({"amountToRecover": None, "claims": {"amount": 1}}, None, "DKK"),
        ({"amountToRecover": None, "currencyCode": None, "claims": [{"amount": 1, "currency": "EUR"}]}, 1, "EUR"),
        (
            {"amountToRecover": None, "currencyCode": None,
             "claims": [{"amount": 1, "currencyCode": "EUR"}, {"amount": 1, "currencyCode": "DKK"}]}, 2, None,
        ),
        ({"amountToRecover": None, "claims": [{"amount": 9 * 10**14}] * 3}, None, "DKK"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_is_at_stake_is_lifted_out_for_the_report(fields: dict[str, Any], amount: Any, currency: Any) -> None:
    job = admit("acme", case(**fields))

    assert job.currency == currency
    assert job.amount is None if amount is None else round(job.amount or 0, 4) == amount
    assert job.amount is None or job.amount.as_tuple().exponent >= -1000, "PostgreSQL knows no smaller one"


def test_the_body_is_the_case_and_nothing_else() -> None:
    given = case(unknownField={"deep": [1, Decimal("2.50"), None]}, tag="æ")

    assert read_json(admit("acme", given).case_body, where="x") == given


def test_the_case_is_not_changed_and_not_kept() -> None:
    given = case(debtor={"name": "before"})
    job = admit("acme", given)
    given["debtor"]["name"] = "after"

    assert "before" in job.case_body
