"""Users, their roles, and the settings that list them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum

from worker.errors import SettingsError
from worker.report.web.passwords import check_hash

LONGEST_NAME = 100
_BETWEEN = re.compile(r"[\s,]+")


class Role(StrEnum):
    """What a user may do."""

    VIEWER = "viewer"
    """Read everything except personal data, check client links, export."""
    OPERATOR = "operator"
    """Also reveal personal data, replay, edit and discard."""


@dataclass(frozen=True, slots=True)
class Person:
    """An authenticated user."""

    name: str
    role: Role
    can_sign_out: bool = False
    """Whether they signed in on this page (and not at a proxy), so that it can sign them out."""

    @property
    def may_act(self) -> bool:
        """Whether they may make changes and see personal data."""
        return self.role is Role.OPERATOR


@dataclass(frozen=True, slots=True)
class User:
    """One entry of REPORT_USERS."""

    name: str
    role: Role
    password_hash: str = field(repr=False)

    @property
    def password_fingerprint(self) -> str:
        """Changes with the password, which ends sessions that carry the old one."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]


def parse_users(text: str) -> dict[str, User]:
    """Parse REPORT_USERS: entries `name:role:password-hash`, separated by white space or commas.

    Raises SettingsError.
    """
    users: dict[str, User] = {}
    for number, entry in enumerate(_entries(text), start=1):
        name, _, rest = entry.partition(":")
        role, _, password_hash = rest.partition(":")
        try:
            check_hash(password_hash)
            user = User(_name(name), Role(role), password_hash)
        except ValueError:
            # The entry holds a hash, so it is not shown.
            raise SettingsError(
                f"REPORT_USERS: entry {number} should be name:role:password-hash with role viewer or operator and a"
                " hash made by `case-worker hash-password`"
            ) from None
        if user.name in users:
            raise SettingsError(f"REPORT_USERS names {user.name!r} twice")
        users[user.name] = user
    return users


def parse_roles(text: str) -> dict[str, Role]:
    """Parse REPORT_PROXY_ROLES: entries `name:role`; `*` is the role of all other users. Raises SettingsError."""
    roles: dict[str, Role] = {}
    for entry in _entries(text):
        name, _, role = entry.rpartition(":")
        try:
            roles[_name(name)] = Role(role)
        except ValueError:
            raise SettingsError(
                f"REPORT_PROXY_ROLES: {entry!r} should be name:viewer or name:operator (* for all other users)"
            ) from None
    return roles


def _entries(text: str) -> list[str]:
    return [entry for entry in _BETWEEN.split(text) if entry]


def _name(text: str) -> str:
    if not 1 <= len(text) <= LONGEST_NAME or not text.isprintable():
        raise ValueError("no name")
    return text
