"""Read variables: text, secrets from files, numbers, addresses. An error names the variable and what it should be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from worker.errors import SettingsError

#: Seconds in each unit of an age such as `90d`.
_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def setting_text(environ: Mapping[str, str], name: str) -> str:
    """Return the value of `NAME`, else the content of the file that `NAME_FILE` names; empty without either.

    White space and line breaks at both ends are stripped. Raises SettingsError.
    """
    value = environ.get(name, "").strip()
    path = environ.get(f"{name}_FILE", "").strip()
    if value or not path:
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE should name a readable text file: {error}") from None


def parse_whole(name: str, text: str, default: int, *, at_least: int, at_most: int) -> int:
    """Parse a variable's text as a whole number; empty gives the default. Raises SettingsError, which names it."""
    readable = text.isascii() and text.isdecimal() and len(text) < 10
    value = int(text) if readable else default if not text else at_least - 1
    if not at_least <= value <= at_most:
        raise SettingsError(f"{name} should be a whole number from {at_least} to {at_most}, not {text!r}")
    return value


def parse_seconds(name: str, text: str, default: float, *, at_most: float) -> float:
    """Parse a variable's text as seconds; empty gives the default. Raises SettingsError, which names the variable."""
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value <= at_most:
        raise SettingsError(f"{name} should be a number of seconds above 0 and at most {at_most:.15g}, not {text!r}")
    return value


def web_address(url: str) -> SplitResult | None:
    """Return the parts of an address that a secret may be sent to: https, or http on loopback. None for any other."""
    try:
        parts = urlsplit(url)
        named = parts.port is None or parts.port > 0
    except ValueError:  # an unclosed IPv6 address, a port that is not a number
        return None
    plain = url.isascii() and url.isprintable() and " " not in url
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    return parts if named and plain and safe and parts.hostname else None


class Environment:
    """Typed look-ups that fail with one line. `NAME_FILE` may name a file that holds the value of `NAME`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.variables = environ

    def text(self, name: str) -> str:
        """Return the variable's text, or its file's; empty without either."""
        return setting_text(self.variables, name)

    def header(self, name: str) -> str:
        """Return a value that goes into an HTTP header: one line of ASCII. Raises SettingsError."""
        value = self.text(name)
        # It goes into an HTTP header as it is. It is a secret, so it is not repeated in the message.
        if not (value.isascii() and value.isprintable()):
            raise SettingsError(f"{name} should be one line of plain ASCII characters")
        return value

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """Return one of the choices. Raises SettingsError."""
        value = self.text(name) or default
        if value not in choices:
            raise SettingsError(f"{name} should be {' or '.join(choices)}, not {value!r}")
        return value

    def url(self, name: str, schemes: tuple[str, ...], example: str) -> str:
        """Return an address with one of these schemes; empty if not set. Raises SettingsError."""
        value = self.text(name)
        # The value may hold a password, so it is not repeated in the message.
        if value and (value.partition("://")[0] not in schemes or "://" not in value):
            raise SettingsError(
                f"{name} should start with one of {', '.join(f'{s}://' for s in schemes)}, e.g. {example}"
            )
        return value

    def api_url(self, name: str, default: str) -> str:
        """Return the base URL of an API: https, or http on loopback. Raises SettingsError."""
        value = (self.text(name) or default).rstrip("/")
        if web_address(value) is None or set(value) & set("?#@"):
            raise SettingsError(f"{name} should be an https:// address (http:// only on loopback), not {value!r}")
        return value

    def seconds(self, name: str, default: float, *, at_most: float) -> float:
        """Return seconds above 0. Raises SettingsError."""
        return parse_seconds(name, self.text(name), default, at_most=at_most)

    def age(self, name: str, *, at_least: float) -> float | None:
        """Return the seconds of an age such as `90d`; None if not set. Raises SettingsError."""
        text = self.text(name)
        if not text:
            return None
        match = re.fullmatch(r"([0-9]{1,5})([hdw])", text)
        value = int(match[1]) * _UNITS[match[2]] if match else 0
        if value < at_least:
            raise SettingsError(f"{name} should look like 90d or 12w, and be at least a day, not {text!r}")
        return value

    def count(self, name: str, default: int, *, at_most: int, at_least: int = 1) -> int:
        """Return a whole number within these bounds. Raises SettingsError."""
        return parse_whole(name, self.text(name), default, at_least=at_least, at_most=at_most)
