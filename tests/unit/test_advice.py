"""Every reason has advice that says what to do."""

from __future__ import annotations

import pytest

from worker.ledger.states import Reason
from worker.report.advice import ADVICE, BY_TYPE, full_advice, what_to_do


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_what_to_do(reason: Reason) -> None:
    sentence = what_to_do(reason)

    assert sentence.endswith(".")
    assert "replay" in sentence or "discard" in sentence


def test_advice_tells_the_reasons_apart() -> None:
    sentences = [*ADVICE.values(), *BY_TYPE.values()]
    assert len(set(sentences)) == len(sentences)


def test_advice_for_an_error_type_beats_advice_for_its_reason() -> None:
    assert what_to_do("business_rule", "MissingPowerOfAttorney") == BY_TYPE["MissingPowerOfAttorney"]
    assert what_to_do("business_rule", "NeverHeardOf") == ADVICE[Reason.BUSINESS_RULE]
    with pytest.raises(ValueError, match="bad_luck"):
        what_to_do("bad_luck")


def test_after_an_unknown_outcome_the_type_does_not_hide_that_the_case_may_exist() -> None:
    """A duplicate that the look-up does not find is dead as outcome_unknown."""
    assert what_to_do("outcome_unknown", "DuplicateReference") == ADVICE[Reason.OUTCOME_UNKNOWN]


@pytest.mark.parametrize("reason", Reason)
def test_pages_for_support_name_no_command(reason: Reason) -> None:
    assert "case-worker" not in what_to_do(reason)
    assert full_advice(reason).startswith(what_to_do(reason))
