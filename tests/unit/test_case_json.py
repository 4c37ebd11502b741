"""A case's JSON is kept exactly, digit for digit; values that can't be sent are refused with their path."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.case.codec import MAX_CASE_BYTES, MAX_DEPTH, digest, read_json, write_json
from worker.errors import InvalidCase


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1250.10}',
        '{"a":0.1000000000000000000000000000000000000001}',
        '{"a":123456789012345678901234567890}',
        '{"a":"Ærøskøbing 🏦"}',
        '{"a":[true,false,null,-0.50]}',
        '{"b":1,"a":2}',
    ],
    ids=["trailing zero", "40 digits", "big int", "non-ASCII", "constants", "member order"],
)
def test_what_was_read_is_written_to_the_letter(text: str) -> None:
    assert write_json(read_json(text, where="line 1")) == text


def test_decimals_and_big_integers_of_python_are_written_exactly() -> None:
    case = {"d": Decimal("1250.10"), "big": 10**40, "tiny": Decimal("0.00000000000000000000000000001"), "f": 0.1}

    text = write_json(case)

    assert json.loads(text, parse_float=Decimal) == case | {"f": Decimal("0.1")}
    assert '"d":1250.10' in text
    assert '"f":0.1' in text


def test_text_is_sent_as_utf_8_and_not_escaped() -> None:
    assert write_json({"name": 'Ærø 🏦 \\ " \n'}) == '{"name":"Ærø 🏦 \\\\ \\" \\n"}'


@pytest.mark.parametrize(
    ("value", "where", "words"),
    [
        ({"a": float("nan")}, "case.a", "not a JSON number"),
        ({"a": [1, float("-inf")]}, "case.a[1]", "not a JSON number"),
        ({"a": Decimal("NaN")}, "case.a", "not a JSON number"),
        ({"a": Decimal("sNaN")}, "case.a", "not a JSON number"),
        ({"a": Decimal("Infinity")}, "case.a", "not a JSON number"),
        ({"a": {"b": "x\x00y"}}, "case.a.b", "NUL"),
        ({"a\x00": 1}, "a name in case", "NUL"),
        ({"a": "\ud83c"}, "case.a", "surrogate"),
        ({"\udfff": 1}, "a name in case", "surrogate"),
        ({1: 2}, "case", "not text"),
        ({"a": {None: 2}}, "case.a", "not text"),
        ({"a": b"x"}, "case.a", "bytes"),
        ({"a": {1, 2}}, "case.a", "set"),
        ({"a": [object()]}, "case.a[0]", "object"),
        ({"a": 1j}, "case.a", "complex"),
        ({"a": 10**5000}, "case.a", "digits"),
        ({"a": -(10**4300)}, "case.a", "digits"),
    ],
    ids=["NaN", "-inf", "decimal NaN", "signalling NaN", "decimal inf", "NUL", "NUL name", "surrogate",
         "surrogate name", "int name", "null name", "bytes", "set", "object", "complex", "huge int", "huge negative"],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_with_its_place(value: Any, where: str, words: str) -> None:
    with pytest.raises(InvalidCase, match=words) as refused:
        write_json(value)

    assert refused.value.where == where


def nested(levels: int) -> dict[str, Any]:
    case: dict[str, Any] = {}
    for _ in range(levels):
        case = {"a": case}
    return case


def test_depth_is_bounded() -> None:
    write_json(nested(MAX_DEPTH))
    with pytest.raises(InvalidCase, match="nested more than"):
        write_json(nested(MAX_DEPTH + 1))


def test_a_value_within_itself_is_refused_and_not_followed_for_ever() -> None:
    case: dict[str, Any] = {}
    case["self"] = [case]
    with pytest.raises(InvalidCase, match="nested more than"):
        write_json(case)


@pytest.mark.parametrize("filler", ["x", "æ", "🏦"], ids=["1 byte", "2 bytes", "4 bytes"])
def test_the_limit_of_1_mib_counts_bytes_and_not_characters(filler: str) -> None:
    room = MAX_CASE_BYTES - len(b'{"a":""}')
    width = len(filler.encode())
    fits = {"a": filler * (room // width)}

    assert len(write_json(fits).encode()) <= MAX_CASE_BYTES
    with pytest.raises(InvalidCase, match="1 MiB"):
        write_json({"a": fits["a"] + filler})


@pytest.mark.parametrize(
    "text",
    ["", "{", "nul", "{'a':1}", '{"a":NaN}', '{"a":-Infinity}', "[" * 100_000, '{"a":' + "1" * 5000 + "}", b"\xff\xfe",
     "1 2"],
    ids=["empty", "open", "word", "quotes", "NaN", "Infinity", "deep", "5000 digits", "not UTF-8", "two values"],
)  # fmt: skip
def test_what_is_not_json_is_refused_and_says_where_it_came_from(text: str | bytes) -> None:
    with pytest.raises(InvalidCase) as refused:
        read_json(text, where="line 7")

    assert refused.value.where == "line 7"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1250.1}, {"a": Decimal("1250.10")}),
        ({"a": 1250.1}, {"a": Decimal("1250.1")}),
        ({"a": 1250}, {"a": 1250.0}),
        ({"a": 1250}, {"a": Decimal("1.25E+3")}),
        ({"a": 0}, {"a": -0.0}),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
    ],
    ids=str,
)
def test_the_same_case_has_the_same_digest_however_it_is_written(one: Any, other: Any) -> None:
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ({"a": []}, {"a": {}}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": 0.1}, {"a": Decimal("0.10000000000000000000000000000000000001")}),
        ({"a": 10**30}, {"a": 10**30 + 1}),
        ({"a": "é"}, {"a": "e\u0301"}),
    ],
    ids=str,
)
def test_another_case_has_another_digest(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize("number", ["1E+9999999", "1E-9999999", "-1E+400", "1E+1000000"])
def test_numbers_beyond_all_measure_have_a_digest_too(number: str) -> None:
    assert digest({"a": Decimal(number)}) == digest(read_json(f'{{"a":{number}}}', where="x"))
    assert digest({"a": Decimal(number)}) != digest({"a": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(json_values)
def test_any_case_survives_the_way_through_its_text(value: Any) -> None:
    text = write_json({"a": value})

    once = read_json(text, where="x")
    assert read_json(write_json(once), where="x") == once
    assert digest(once) == digest({"a": value})


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=6), st.randoms())
def test_the_order_of_members_never_matters(members: dict[str, int], random: Any) -> None:
    shuffled = list(members.items())
    random.shuffle(shuffled)

    assert digest(dict(shuffled)) == digest(members)
