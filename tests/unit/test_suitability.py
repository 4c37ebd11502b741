"""Which code may work on which schema."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ledger.schema_version import CodeSchema, Compatibility, DatabaseSchema, compatibility, describe

HISTORY = [f"{number:04}" for number in range(1, 9)]


def code_of(newest: int) -> CodeSchema:
    """Code that carries the first so many migrations."""
    return CodeSchema(HISTORY[newest], frozenset(HISTORY[: newest + 1]))


@given(code=st.integers(0, 7), database=st.integers(0, 7), oldest=st.integers(0, 7))
def test_code_works_on_its_own_schema_and_on_newer_ones_that_still_suit_it(
    code: int, database: int, oldest: int
) -> None:
    found = compatibility(code_of(code), DatabaseSchema(HISTORY[database], HISTORY[oldest]))

    if code == database:
        assert found is Compatibility.SAME
    elif database < code:
        assert found is Compatibility.TOO_OLD
    else:
        assert found is (Compatibility.NEWER if oldest <= code else Compatibility.TOO_NEW)


@pytest.mark.parametrize(
    ("database", "expected", "said"),
    [
        (
            DatabaseSchema(None, None),
            Compatibility.TOO_OLD,
            "version none, and this code needs 0004: run `case-worker migrate`",
        ),
        (DatabaseSchema("0003", "0001"), Compatibility.TOO_OLD, "at version 0003, and this code needs 0004: run"),
        (DatabaseSchema("0006", "0006"), Compatibility.TOO_NEW, "deploy newer code (version 0006 or newer)"),
        (DatabaseSchema("0006", None), Compatibility.TOO_NEW, "no longer suits this code: deploy newer code"),
    ],
)
def test_what_does_not_fit_is_said_with_what_to_do(
    database: DatabaseSchema, expected: Compatibility, said: str
) -> None:
    assert compatibility(code_of(3), database) is expected
    assert said in describe(code_of(3), database)
