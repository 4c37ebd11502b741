"""For any answer, judging never raises, waits are bounded, and PostgreSQL can store the texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.debitura.http import Reply
from worker.debitura.judge import (
    DEFAULT_RETRY_AFTER,
    MAX_RETRY_AFTER,
    MIN_RETRY_AFTER,
    Meaning,
    judge,
    retry_after,
)
from worker.ledger.states import Reason

#: Any text, with NUL and lone surrogates, as JSON escapes can carry them.
any_text = st.text(st.characters(exclude_categories=[]), max_size=20)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
KNOWN = [
    "id", "reference", "error", "message", "businessErrors", "type", "title", "detail", "errors", "signingHandoff",
    "combinedSigningUrl", "solutionUrl", "retryAfter",
]  # fmt: skip
api_like = st.recursive(
    any_json,
    lambda inner: st.dictionaries(st.sampled_from(KNOWN), inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=15,
)
bodies = st.binary(max_size=200) | api_like.map(lambda value: json.dumps(value).encode())
statuses = st.integers(100, 599)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from texts_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts_in(member)


@given(statuses, bodies, st.none() | any_text, st.booleans())
@example(200, b"[" * 100_000, None, True)
@example(429, b'{"retryAfter": 1' + b"0" * 400 + b"}", None, True)
@example(422, b'{"businessErrors": [{"type": "\\u0000\\ud800", "solutionUrl": "https://\\u0000"}]}', None, True)
@example(200, b'{"id": "0b0e7c1e-6f7e-4b0e-9d55-1f2f3a4b5c6d", "reference": "\\u0000"}', None, True)
def test_judging_never_raises_and_all_that_it_keeps_can_be_stored(
    status: int, body: bytes, header: str | None, whole: bool
) -> None:
    verdict = judge(Reply(status, body, header, whole))

    kept = [
        verdict.detail(), verdict.describe(), verdict.error_type, verdict.message, verdict.case_id,
        verdict.case_reference, verdict.solution_url, verdict.combined_signing_url,
    ]  # fmt: skip
    for text in texts_in(kept):
        assert "\x00" not in text, "PostgreSQL knows no NUL"
        text.encode()  # and no lone surrogates
    json.dumps(verdict.detail(), allow_nan=False)
    assert verdict.reason is None or verdict.reason in list(Reason)
    assert (verdict.meaning is Meaning.SUBMITTED) == (verdict.case_id is not None)
    assert verdict.meaning is not Meaning.SUBMITTED or 200 <= status < 300
    assert verdict.reason is None or verdict.meaning in (Meaning.REFUSED, Meaning.UNUSABLE, Meaning.SERVER_ERROR)
    assert verdict.reason is not None or verdict.meaning not in (Meaning.REFUSED, Meaning.UNUSABLE)


@given(bodies, st.none() | any_text)
def test_a_429_always_waits_within_bounds(body: bytes, header: str | None) -> None:
    assert MIN_RETRY_AFTER <= judge(Reply(429, body, header)).retry_after <= MAX_RETRY_AFTER


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_sensible_number_is_obeyed_and_others_are_brought_into_bounds(seconds: float) -> None:
    waited = retry_after(Reply(429, json.dumps({"retryAfter": seconds}).encode()))

    if seconds < 0:
        assert waited == DEFAULT_RETRY_AFTER
    else:
        assert waited == min(max(seconds, MIN_RETRY_AFTER), MAX_RETRY_AFTER)


@pytest.mark.parametrize(
    ("body", "header", "seconds"),
    [
        (b'{"retryAfter": 42.0}', None, 42),
        (b'{"retryAfter": "42"}', None, 42),
        (b'{"retryAfter": 42}', "7", 42),
        (b"<html>", "7", 7),
        (b"", "7.5", 7.5),
        (b'{"retryAfter": null}', "7", 7),
        (b'{"retryAfter": true}', "7", 7),
        (b'{"retryAfter": "soon"}', "7", 7),
        (b'{"retryAfter": []}', None, 60),
        (b'{"retryAfter": -5}', None, 60),
        (b'{"retryAfter": NaN}', None, 60),
        (b'{"retryAfter": Infinity}', None, 60),
        (b'{"retryAfter": 1e400}', None, 60),
        (b'{"retryAfter": 0}', None, 1),
        (b'{"retryAfter": 1e30}', None, 86_400),
        (b"", "Wed, 21 Oct 2099 07:28:00 GMT", 86_400),
        (b"", "Wed, 21 Oct 2015 07:28:00 GMT", 60),
        (b"", "Mon, 01 Jan 99999 00:00:00 GMT", 60),
        (b"", "soon", 60),
        (b"", None, 60),
    ],
)
def test_the_wait_of_a_429_is_read_from_its_body_or_header(body: bytes, header: str | None, seconds: float) -> None:
    assert retry_after(Reply(429, body, header)) == seconds
