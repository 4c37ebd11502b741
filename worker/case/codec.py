"""Read and write a case's JSON exactly, validate it, and compare cases by meaning.

Numbers stay Decimal between the JSON text and the ledger, never float, so 1250.10 stays 1250.10.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

import simplejson

from worker.errors import InvalidCase

#: Maximum size of a case in bytes (UTF-8).
MAX_CASE_BYTES = 1024 * 1024
#: Maximum nesting depth of objects and lists.
MAX_DEPTH = 64
#: Maximum digits of an integer: Python parses no more from text.
MAX_DIGITS = 4300
#: Decimal's default context rounds to 28 digits and rejects numbers beyond 1E±999999.
_EXACT = Context(prec=MAX_CASE_BYTES, Emax=MAX_EMAX, Emin=MIN_EMIN)

_TOO_LONG = 10**MAX_DIGITS


def read_json(text: str | bytes, *, where: str, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parse JSON, with fractions as Decimal. Raises InvalidCase if it is not valid JSON, also for NaN and Infinity."""

    def no_constant(name: str) -> Any:
        raise InvalidCase(f"{name} is not a JSON number", where=where)

    try:
        return simplejson.loads(text, use_decimal=True, parse_constant=no_constant, object_hook=object_hook)
    except InvalidCase:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidCase(f"not valid JSON ({error})", where=where) from None


def write_json(case: dict[str, Any]) -> str:
    """Serialize the case to the text of every request. Raises InvalidCase with the path of an invalid value."""
    check(case, "case")
    text = simplejson.dumps(case, use_decimal=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MAX_CASE_BYTES:
        raise InvalidCase(
            f"is {size:,} bytes long as JSON; {MAX_CASE_BYTES:,} bytes (1 MiB) is the maximum", where="case"
        )
    return text


def check(value: Any, where: str, depth: int = 0) -> None:  # noqa: PLR0912 - one case per JSON type
    """Raise InvalidCase with the path if a value is not JSON or the ledger cannot store it."""
    if depth > MAX_DEPTH:
        raise InvalidCase(f"is nested more than {MAX_DEPTH} levels deep", where=where)
    match value:
        case int() if abs(value) >= _TOO_LONG:
            raise InvalidCase(f"a whole number of more than {MAX_DIGITS} digits cannot be sent", where=where)
        case None | bool() | int():
            return
        case str():
            check_text(value, where)
        case float() if not math.isfinite(value):
            raise InvalidCase(f"{value} is not a JSON number", where=where)
        case float():
            return
        case Decimal() if not value.is_finite():
            raise InvalidCase(f"{value} is not a JSON number", where=where)
        case Decimal():
            return
        case dict():
            for name, member in value.items():
                if not isinstance(name, str):
                    raise InvalidCase(f"the name {name!r} is not text", where=where)
                check_text(name, f"a name in {where}")
                check(member, f"{where}.{name}", depth + 1)
        case list() | tuple():
            for index, member in enumerate(value):
                check(member, f"{where}[{index}]", depth + 1)
        case _:
            raise InvalidCase(
                f"a {type(value).__name__} cannot be written as JSON; give text (dates as YYYY-MM-DD) or a number",
                where=where,
            )


def check_text(value: str, where: str) -> None:
    """Raise InvalidCase for NUL characters or lone surrogates, which PostgreSQL and UTF-8 cannot store."""
    if "\x00" in value:
        raise InvalidCase("contains a NUL character (\\u0000)", where=where)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidCase("contains half of a surrogate pair, which is not a character", where=where)


def creditor_reference(case: dict[str, Any]) -> str | None:
    """The case's creditorReference if it is non-empty text, else None."""
    reference = case.get("creditorReference")
    return reference if isinstance(reference, str) and reference else None


def reference_in(body: str) -> str | None:
    """The creditorReference in a case's JSON text. Texts without the name are not parsed."""
    return creditor_reference(read_json(body, where="case")) if '"creditorReference"' in body else None


def digest(case: Any) -> str:
    """The SHA-256 (hex) of the canonical JSON: members sorted by name, no spaces, equal numbers written equally.

    A case has the same digest through every intake channel: 1250.1, 1250.10 and Decimal("1250.1") are equal.
    """
    text = simplejson.dumps(
        _canonical(case), sort_keys=True, ensure_ascii=False, separators=(",", ":"), use_decimal=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    match value:
        case bool():
            return value
        case float() | Decimal():
            number = Decimal(str(value)) if isinstance(value, float) else value
            if number == number.to_integral_value() and number.adjusted() < 400:
                return int(number)
            return number.normalize(_EXACT)
        case dict():
            return {name: _canonical(member) for name, member in value.items()}
        case list() | tuple():
            return [_canonical(member) for member in value]
    return value
