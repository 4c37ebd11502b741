"""The fields of a case: their paths, and which values may be shown. Pure functions.

An allowlist decides: unknown fields are hidden, and so are values that don't match their field's format. (Fields as in
referral-partners/integration-guides/case-submission.) `one_line` makes untrusted text safe to print.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Any

_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?(Z|[+-]\d{2}:?\d{2})?"
    r"|\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})"
)
_AMOUNT = re.compile(r"-?(\d{1,16}|\d{1,3}([,. ]\d{3}){1,5})([.,]\d{1,6})?|-?\d{1,16}([.]\d{1,6})?[eE][+-]?\d{1,3}")
_CODE = re.compile(r"\S{1,3}|[A-Za-z0-9-]{1,6}")
_WORD = re.compile(r"[A-Za-z]{1,20}")
_FLAG = re.compile(r"true|false|null")
_ID = re.compile(r"[0-9a-fA-F-]{1,36}")
#: References and tags are chosen by the sender, and are shown in lists anyway.
_ANY = re.compile(r".*", re.DOTALL)

_HARMLESS = {
    "currencyCode": _CODE, "amountToRecover": _AMOUNT, "amountToRecoverOver6Months": _AMOUNT,
    "amountToRecoverOver12Months": _AMOUNT, "amountToRecoverOver24Months": _AMOUNT, "date": _DATE, "dueDate": _DATE,
    "creditorReference": _ANY, "allowPendingContracts": _FLAG, "isTest": _FLAG, "tag": _ANY,
    "skipDebituraVerification": _FLAG, "skipCreationEmails": _FLAG, "collectionPartnerId": _ID,
    "creditorDivisionId": _ID, "debtor.type": _WORD, "debtor.countryAlpha2": _CODE, "debtor.stateAlpha2": _CODE,
    "claims[].amount": _AMOUNT, "claims[].amountToRecover": _AMOUNT, "claims[].currencyCode": _CODE,
    "claims[].currency": _CODE, "claims[].date": _DATE, "claims[].dueDate": _DATE, "claims[].reference": _ANY,
    "claims[].creditorReference": _ANY,
}  # fmt: skip
_PLACE = re.compile(r"\[\d+\]")


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every leaf of a JSON value, with its path in the API's notation."""
    inner = members(value, path)
    if not inner:
        return [(path, value)]
    return [leaf for place, (_, member) in inner.items() for leaf in leaves(member, place)]


def members(value: Any, path: str) -> dict[str, tuple[str | int, Any]]:
    """The members of an object or list: path to (name or index, value). Empty for other values."""
    match value:
        case dict():
            return {f"{path}.{name}" if path else name: (name, member) for name, member in value.items()}
        case list():
            return {f"{path}[{index}]": (index, member) for index, member in enumerate(value)}
    return {}


def kind_of(path: str) -> str:
    """The path without indexes: the same for every item of a list, e.g. `claims[].amount`."""
    return _PLACE.sub("[]", path) if "[" in path else path


def is_harmless(path: str, value: Any) -> bool:
    """Whether the value may be shown to all users: its field is allowed and the value matches the field's format."""
    shape = _HARMLESS.get(kind_of(path))
    if shape is None:
        return False
    return value is None or value in ("", [], {}) or shape.fullmatch(as_text(value).strip()) is not None


def as_text(value: Any) -> str:
    """A value of a case as text."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case Decimal():
            return format(value, "f")
        case dict():
            return "{}"
        case list():
            return "[]"
    return str(value)


#: Unicode categories of characters that change how a line is displayed or control the terminal. (Also Cf, format
#: characters such as bidirectional overrides, except the joiners within words.)
_UNPRINTABLE = {"Cc", "Cs", "Co", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}


def one_line(text: str) -> str:
    """Untrusted text (a tenant's name, the API's message) as one line that is safe to print.

    White space becomes single spaces; control characters become a replacement character, so that a terminal shows
    escape sequences and does not execute them.
    """
    return " ".join("".join(_printable(character) for character in text).split())


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in _UNPRINTABLE or (category == "Cf" and character not in _JOINERS):
        return "\N{REPLACEMENT CHARACTER}"
    return character
