"""NDJSON lines: which are good or bad, and that an error never repeats a value."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.intake.ndjson import BadLine, GoodLine, read_lines

GOOD = b'{"externalTenantId": "acme", "case": {"debtor": {}}}'


def only(raw: bytes) -> GoodLine | BadLine:
    [line] = read_lines(io.BytesIO(raw))
    return line


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"nonsense", "not valid JSON"),
        (b"[1]", "should be an object with externalTenantId, case"),
        (b"{}", "externalTenantId: is missing"),
        (b'{"externalTenantId": 5, "case": {"debtor": {}}}', "externalTenantId: should be text, not a number"),
        (b'{"externalTenantId": "", "case": {"debtor": {}}}', "externalTenantId: has 0 characters"),
        (b'{"externalTenantId": "a"}', "case: should be an object, not null"),
        (b'{"externalTenantId": "a", "case": {}}', "case.debtor: is missing"),
        (b'{"externalTenantId": "a", "case": {"debtor": "Hemmelig"}}', "case.debtor: is text"),
        (b'{"externalTenantId": "a", "case": {"debtor": {}}, "tenant": "Hemmelig"}', "tenant: unknown; a line has"),
        (b'{"externalTenantId": "a", "case": {"debtor": {}}, "priority": "Hemmelig"}', "priority: should be high,"),
        (b'{"externalTenantId": "a", "case": {"debtor": {}}, "priority": ["Hemmelig"]}', "priority: should be high,"),
        (b'{"externalTenantId": "a", "case": {"debtor": {}}, "idempotencyKey": 7}', "idempotencyKey: should be text"),
        (b'{"case": 1, "externalTenantId": "a", "case": {"debtor": {}}}', "case: occurs twice in one object"),
        (b'{"externalTenantId": "a", "case": {"debtor": {"x": 1, "x": 1}}}', "x: occurs twice in one object"),
        (b'{"externalTenantId": "a", "case": {"debtor": {"x": [{"y": 1, "\\u0079": 2}]}}}', "y: occurs twice"),
        (b'{"externalTenantId": "a", "case": {"debtor": {"x": NaN}}}', "NaN is not a JSON number"),
        (b'{"externalTenantId": "a", "case": {"debtor": {"x": "Hemmelig\\u0000"}}}', "case.debtor.x: contains a NUL"),
        (b'{"externalTenantId": "a", "case": {"debtor": {"x": "Hemmelig\xe6"}}}', "byte 61 is not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"externalTenantId": "a", "case": {"debtor": {"x": ' + b"9" * 5000 + b"}}}", "not valid JSON"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_where_and_repeats_no_value(raw: bytes, reason: str) -> None:
    line = only(raw)

    assert isinstance(line, BadLine)
    assert line.reason.startswith(reason)
    assert "Hemmelig" not in line.reason


def test_null_is_as_good_as_absent() -> None:
    line = only(b'{"externalTenantId": "a", "case": {"debtor": {}}, "priority": null, "idempotencyKey": null}')

    assert isinstance(line, GoodLine)
    assert (line.job.priority.name, line.job.idempotency_key[:7]) == ("NORMAL", "sha256:")


def test_lines_are_numbered_as_an_editor_does() -> None:
    lines = list(read_lines(io.BytesIO(b"\xef\xbb\xbf" + GOOD + b"\n\n  \r\n" + GOOD + b"\r\nbad\n" + GOOD)))

    assert [(type(line), line.number) for line in lines] == [
        (GoodLine, 1), (GoodLine, 4), (BadLine, 5), (GoodLine, 6),
    ]  # fmt: skip


def test_a_byte_order_mark_is_for_the_beginning_only() -> None:
    assert [type(line) for line in read_lines(io.BytesIO(GOOD + b"\n\xef\xbb\xbf" + GOOD))] == [GoodLine, BadLine]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_bad_and_the_next_one_is_read(end: bytes) -> None:
    limit = len(GOOD) + 1

    lines = list(
        read_lines(io.BytesIO(GOOD + b"\n" + b"x" * (3 * limit) + end + (GOOD if end else b"")), max_line=limit)
    )

    assert [type(line) for line in lines] == [GoodLine, BadLine, *([GoodLine] if end else [])]
    assert isinstance(lines[1], BadLine)
    assert lines[1].reason == f"is longer than {limit} bytes"


@given(st.lists(st.sampled_from([GOOD, b"", b"bad", b"\xff", b"{}", b"null", b'"x"']), max_size=20))
def test_every_line_that_is_not_blank_is_accounted_for(parts: list[bytes]) -> None:
    lines = list(read_lines(io.BytesIO(b"\n".join(parts))))

    assert [line.number for line in lines] == [n for n, part in enumerate(parts, 1) if part]
    assert [isinstance(line, GoodLine) for line in lines] == [part == GOOD for part in parts if part]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=15,
    )
)
def test_any_json_at_all_is_judged_and_never_raises(value: object) -> None:
    only(json.dumps({"externalTenantId": "a", "case": {"debtor": {"x": value}}}).encode())
    list(read_lines(io.BytesIO(json.dumps(value).encode())))
