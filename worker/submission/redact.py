"""Remove a case's personal data from what the API says about it. Pure functions.

The API may repeat a case's values in its messages (`The value 'Anna Andersson' is not a date`), and those are stored,
listed, exported and printed for people who may not see the case. So a value that the page would hide is removed before
anything is written; people who may reveal the case find it there.
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

#: The shortest value to look for, in characters: shorter ones occur in every second word.
SHORTEST = 4
#: What replaces a value if its field's name would itself reveal a value, and what then replaces a whole text.
HIDDEN, NOTHING = "‹hidden›", "‹…›"
#: Types that decide the next step, so they must stay as they are.
_DECIDING = {DUPLICATE_REFERENCE, IDEMPOTENCY_CONFLICT}
_FIELD = re.compile(r"[\w$.\[\]]+")


def scrubbed(verdict: Verdict, case_body: str) -> Verdict:
    """Return the verdict with the case's hidden values removed from its texts. Costs nothing without texts."""
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
    """Return the values of a case that are hidden until they are revealed, with the name of their field.

    Leaf strings and numbers of SHORTEST or more characters, in lower case, the longest first.
    """
    case = json.loads(case_body, parse_float=str, parse_int=str)  # digit for digit, as it is sent
    found: dict[str, str] = {}
    for path, value in leaves(case):
        if value is None or isinstance(value, bool | dict | list) or is_harmless(path, value):
            continue
        text = _lower(as_text(value).strip())
        if len(text) >= SHORTEST:
            found.setdefault(text, kind_of(path))
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def scrub(text: str, hidden: Mapping[str, str], *, cut: bool = False) -> str:
    """Replace every hidden value in the text with the name of its field, `‹debtor.name›`.

    Ignores the case of letters, and finds values escaped as in HTML, JSON or a URL. With `cut` the text may have been
    cut off within a value, so the beginning of one at its end is replaced too.
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
    # A value that contains our own marks could reappear in what is left.
    return NOTHING if any(value in _lower(made) for value in hidden) else made


def _replaced(text: str, spans: Iterable[tuple[int, int, str]], hidden: Mapping[str, str]) -> str:
    """Replace each covered stretch of the text with one mark: the first and longest of values within each other."""
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
    """Return the value, and its forms in HTML, JSON or a URL if the text has signs of such a form."""
    ways = {value}
    if "&" in low:
        ways |= {html.escape(value), html.escape(value, quote=False)}
    if "\\" in low:
        ways.add(json.dumps(value)[1:-1])
    if "%" in low or "+" in low:
        ways |= {quote(value).lower(), quote_plus(value).lower()}
    return ways


def _beginning_at_end(low: str, value: str) -> int:
    """Return how many characters of the value's beginning, SHORTEST or more, stand at the end; 0 for none."""
    return next((n for n in range(min(len(value), len(low)) - 1, SHORTEST - 1, -1) if low.endswith(value[:n])), 0)


def _lower(text: str) -> str:
    """Lower each character by itself, so that positions stay the same. (`lower` alone would change them for İ or Σ.)"""
    return text.lower() if text.isascii() else text.replace("İ", "i").replace("Σ", "σ").lower()
