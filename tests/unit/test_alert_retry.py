"""One try to deliver an alert, and what follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.alerts.delivery import FIRST_WAIT, LONGEST_WAIT, TRIES, Again, Delivered, GivenUp, after_try


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_is_a_delivery_also_at_the_last_try(status: int) -> None:
    assert after_try(TRIES, status=status, chance=0.5) == Delivered()


@pytest.mark.parametrize("status", [301, 400, 404, 410, 429, 500, 503, None])
def test_a_failed_delivery_is_tried_again_and_given_up_at_the_last_try(status: int | None) -> None:
    again = after_try(1, status=status, error="no response before the timeout", chance=0.0)

    assert isinstance(again, Again)
    assert isinstance(after_try(TRIES, status=status, error="no response before the timeout", chance=0.0), GivenUp)
    assert again.error == ("no response before the timeout" if status is None else f"it answers {status}")


@given(attempt=st.integers(1, TRIES - 1), chance=st.floats(0, 1))
def test_waits_double_with_jitter_up_to_the_longest(attempt: int, chance: float) -> None:
    found = after_try(attempt, status=500, chance=chance)

    assert isinstance(found, Again)
    whole = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
    assert whole / 2 <= found.seconds <= whole


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("120", 120), ("1", FIRST_WAIT), ("999999999", LONGEST_WAIT), ("-5", FIRST_WAIT), ("soon", FIRST_WAIT)],
)
def test_a_receiver_that_names_a_longer_wait_gets_it(asked: str, seconds: float) -> None:
    found = after_try(1, status=429, retry_after=asked, chance=1.0)

    assert isinstance(found, Again)
    assert found.seconds == seconds
