"""Foreign text (a tenant's name, the API's message) as one line that is safe to print."""

from __future__ import annotations

import unicodedata

#: Unicode categories that change how a line is shown, or what a terminal does, rather than being shown themselves.
#: (Cf is format characters such as the bidirectional overrides; joiners within words belong to it and are kept.)
_UNPRINTABLE = {"Cc", "Cs", "Co", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}


def one_line(text: str) -> str:
    """Foreign text (a tenant's name, the API's message) as one line that does nothing to a terminal.

    White space of any kind becomes single spaces; control characters become a replacement character, so that an escape
    sequence in a message is seen and not obeyed.
    """
    return " ".join("".join(_printable(character) for character in text).split())


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in _UNPRINTABLE or (category == "Cf" and character not in _JOINERS):
        return "\N{REPLACEMENT CHARACTER}"
    return character
