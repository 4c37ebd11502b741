"""What the API says, without the personal data of the case that it says it of. Pure functions.

The API may repeat a case's values in its messages (`The value 'Anna Andersson' is not a date`), and those are kept,
listed, exported and printed for people who may not see the case. So a value that the page would hide is taken out
before anything is written; who may reveal the case finds it there.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote, quote_plus

from worker.case.fields import as_text, is_harmless, kind_of, leaves
from worker.debitura.judge import DUPLICATE_REFERENCE, IDEMPOTENCY_CONFLICT, MAX_TEXT, Verdict

#: Characters that a value must have to be looked for: shorter ones stand in every second word.
SHORTEST = 4
#: What stands for a value whose field's name would itself give a value away, and what stands for a whole text then.
HIDDEN, NOTHING = "‹hidden›", "‹…›"
#: Types that decide what is done next, so they must stay as they are.
_DECIDING = {DUPLICATE_REFERENCE, IDEMPOTENCY_CONFLICT}
_FIELD = re.compile(r"[\w$.\[\]]+")


def scrubbed(verdict: Verdict, case_body: str) -> Verdict:
    """The same verdict, its words without what the case hides. Costs nothing where there are no words."""
    if not (verdict.message or verdict.excerpt or verdict.fields or verdict.error_type or verdict.business_errors):
        return verdict
    hidden = hidden_values(case_body)

    def clear(text: str | None, *, cut: bool = False) -> str | None:
        return text and scrub(text, hidden, cut=cut or len(text) >= MAX_TEXT)

    def type_of(text: str | None) -> str | None:
        return text if text in _DECIDING else clear(text)

    return replace(
        verdict,
        error_type=type_of(verdict.error_type),
        message=clear(verdict.message),
        excerpt=clear(verdict.excerpt, cut=True),
        fields={
            name if _FIELD.fullmatch(name) else scrub(name, hidden): [scrub(said, hidden) for said in texts]
            for name, texts in verdict.fields.items()
        },
        business_errors=[
            rule | {"type": type_of(rule.get("type")), "message": clear(rule.get("message"))}
            for rule in verdict.business_errors
        ],
    )


@lru_cache(maxsize=4)
def hidden_values(case_body: str) -> Mapping[str, str]:
    """The values of a case that nobody sees before they are revealed, with the name of their field.

    Leaf strings and numbers of SHORTEST or more characters, in lower case, the longest first.
    """
    case = json.loads(case_body, parse_float=str, parse_int=str)  # to the digit, as it is sent
    found: dict[str, str] = {}
    for path, value in leaves(case):
        if value is None or isinstance(value, bool | dict | list) or is_harmless(path, value):
            continue
        text = _lower(as_text(value).strip())
        if len(text) >= SHORTEST:
            found.setdefault(text, kind_of(path))
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def scrub(text: str, hidden: Mapping[str, str], *, cut: bool = False) -> str:
    """The text with the name of its field, `‹debtor.name›`, for every value that is hidden.

    Whatever the case of its letters, and also as HTML, JSON or an address would write it. With `cut` the text may have
    been cut off within a value, so the beginning of one at its end goes too.
    """
    low = _lower(text)
    spans: list[tuple[int, int, str]] = []
    for value, field in hidden.items():
        for written in _ways_to_write(value, low):
            at = low.find(written)
            while at >= 0:
                spans.append((at, at + len(written), field))
                at = low.find(written, at + 1)
            if cut and (rest := _beginning_at_end(low, written)):
                spans.append((len(low) - rest, len(low), field))
    if not spans:
        return text
    made = _replaced(text, spans, hidden)
    # A value that holds our own signs could come together again out of what is left.
    return NOTHING if any(value in _lower(made) for value in hidden) else made


def _replaced(text: str, spans: Iterable[tuple[int, int, str]], hidden: Mapping[str, str]) -> str:
    """The text with one mark for each stretch that is covered; of values within each other, the first and longest."""
    parts: list[str] = []
    end = 0
    for start, stop, field in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= end:
            parts += [text[end:start], _mark(field, hidden)]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _mark(field: str, hidden: Mapping[str, str]) -> str:
    for mark in (f"‹{field}›", HIDDEN):
        if len(mark) <= 100 and not any(value in _lower(mark) for value in hidden):
            return mark
    return NOTHING


def _ways_to_write(value: str, low: str) -> set[str]:
    """The value, and how it looks inside HTML, JSON or an address, where the text has signs of such a form."""
    ways = {value}
    if "&" in low:
        ways |= {html.escape(value), html.escape(value, quote=False)}
    if "\\" in low:
        ways.add(json.dumps(value)[1:-1])
    if "%" in low or "+" in low:
        ways |= {quote(value).lower(), quote_plus(value).lower()}
    return ways


def _beginning_at_end(low: str, value: str) -> int:
    """How many characters of the value's beginning, SHORTEST or more, stand at the end; 0 for none."""
    return next((n for n in range(min(len(value), len(low)) - 1, SHORTEST - 1, -1) if low.endswith(value[:n])), 0)


def _lower(text: str) -> str:
    """Lower case, each character by itself, so that places in it are places in the text. (Two letters would not.)"""
    return text.lower() if text.isascii() else text.replace("İ", "i").replace("Σ", "σ").lower()
