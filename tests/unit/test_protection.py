"""Which fields of a case stay readable, and that a key is found in both forms."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.case.protection import HIDDEN, UNPROTECTED, Protection, hidden_key, key_digest
from worker.errors import CaseSealed, SettingsError
from worker.intake.enqueue import admit
from worker.settings import Settings

KEYS = {"CASE_ENCRYPTION_KEYS": "11" * 32}
CASE = {"debtor": {"name": "Søren"}, "creditorReference": "INV-1", "amountToRecover": 5, "currencyCode": "DKK"}
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30)


def test_without_keys_everything_is_kept_as_it_is() -> None:
    job = admit("acme", CASE)

    kept = Settings.from_environment({"CASE_PLAINTEXT_FIELDS": "amount"}).protection.kept(uuid4(), job)

    assert (kept.case_body, kept.idempotency_key) == (job.case_body, "ref:INV-1")
    assert (kept.creditor_reference, kept.amount, kept.currency) == ("INV-1", Decimal("5.0000"), "DKK")


@pytest.mark.parametrize("readable", ["", "amount", "reference", "amount,reference"])
def test_with_keys_only_what_is_named_stays_readable(readable: str) -> None:
    protection = Protection.from_environment({**KEYS, "CASE_PLAINTEXT_FIELDS": readable})
    job, job_id = admit("acme", CASE), uuid4()

    kept = protection.kept(job_id, job)

    assert "INV-1" not in kept.case_body
    assert "Søren" not in kept.case_body
    assert protection.open_case(job_id, kept.case_body) == job.case_body
    assert (kept.amount is not None, kept.currency is not None) == ("amount" in readable,) * 2
    assert kept.creditor_reference == ("INV-1" if "reference" in readable else None)
    assert kept.idempotency_key == ("ref:INV-1" if "reference" in readable else hidden_key("acme", "ref:INV-1"))


def test_a_case_opens_for_its_own_job_only_and_never_without_keys() -> None:
    protection, one = Protection.from_environment(KEYS), uuid4()
    sealed = protection.seal_case(one, "{}")

    for other in (protection, UNPROTECTED):
        with pytest.raises(CaseSealed):
            other.open_case(uuid4(), sealed)
    with pytest.raises(CaseSealed):
        protection.open_message(1, sealed)


@given(names, names, names, names)
def test_two_keys_have_one_digest_only_if_they_are_the_same_of_the_same_tenant(
    tenant: str, key: str, other_tenant: str, other_key: str
) -> None:
    same = (tenant, key) == (other_tenant, other_key)
    assert (key_digest(tenant, key) == key_digest(other_tenant, other_key)) == same


@given(names, names)
def test_a_key_and_its_hidden_form_have_the_same_digest(tenant: str, key: str) -> None:
    hidden = hidden_key(tenant, key)

    assert key_digest(tenant, hidden) == key_digest(tenant, key)
    assert hidden_key(tenant, hidden) == hidden
    assert hidden.startswith(HIDDEN)


def test_a_default_key_that_is_a_digest_is_not_taken_for_a_hidden_one() -> None:
    key = admit("acme", {"debtor": {}}).idempotency_key
    assert key.startswith("sha256:")
    assert hidden_key("acme", key) != key


def test_the_environment_is_refused_in_one_line_that_names_the_variable() -> None:
    with pytest.raises(SettingsError, match=r"^CASE_ENCRYPTION_KEYS should be"):
        Protection.from_environment({"CASE_ENCRYPTION_KEYS": "x"})
    # What else is wrong there is no matter of a web app's that enqueues.
    assert Protection.from_environment({"WORKER_BATCH": "many"}) is UNPROTECTED
