"""Settings of the web page, in addition to the worker's."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.environment import LOOPBACK, setting_text
from worker.errors import SettingsError
from worker.report.web.people import Role, User, parse_roles, parse_users
from worker.settings import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Minimum length of REPORT_SECRET_KEY; a shorter one could be guessed.
SHORTEST_KEY = 32
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Users, and how they are authenticated."""

    users: dict[str, User]
    secret_key: bytes = field(repr=False)
    proxy_header: str
    """The request header in which a proxy names the user; empty: none."""
    proxy_addresses: tuple[Network, ...]
    """Addresses from which that header and the X-Forwarded ones are trusted."""
    proxy_roles: dict[str, Role]

    @property
    def local_only(self) -> bool:
        """Whether no sign-in is configured: then only this machine may use the page."""
        return not self.users and not self.proxy_header

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], shared: Settings) -> WebSettings:
        """Read REPORT_USERS, REPORT_SECRET_KEY, REPORT_PROXY_USER_HEADER, REPORT_PROXY_ADDRESSES, REPORT_PROXY_ROLES.

        Raises SettingsError, one line, naming the variable and what it should be.
        """
        users_text = setting_text(environ, "REPORT_USERS")
        header = setting_text(environ, "REPORT_PROXY_USER_HEADER")
        addresses = _networks(setting_text(environ, "REPORT_PROXY_ADDRESSES"))
        if header and not _HEADER.fullmatch(header):
            raise SettingsError(f"REPORT_PROXY_USER_HEADER should be a header's name, not {header!r}")
        if header and not addresses:
            raise SettingsError(
                "REPORT_PROXY_ADDRESSES should name the addresses of the proxy whose REPORT_PROXY_USER_HEADER is"
                " trusted, e.g. 10.0.0.5 or 10.0.0.0/24"
            )
        return cls(
            users=parse_users(users_text),
            secret_key=_key(setting_text(environ, "REPORT_SECRET_KEY"), users_text, shared.database_url),
            proxy_header=header.lower(),
            proxy_addresses=addresses,
            proxy_roles=parse_roles(setting_text(environ, "REPORT_PROXY_ROLES")) or {"*": Role.VIEWER},
        )

    def require_safe(self, host: str) -> None:
        """Raise SettingsError if the page would be open to the network without a sign-in."""
        if self.local_only and host.strip("[]") not in LOOPBACK:
            raise SettingsError(
                f"without REPORT_USERS the report serves this machine only (--host 127.0.0.1), not {host!r}: make an"
                " entry with `case-worker hash-password` and set REPORT_USERS, or REPORT_PROXY_USER_HEADER behind a"
                " proxy that signs people in"
            )


def _networks(text: str) -> tuple[Network, ...]:
    found = []
    for part in re.split(r"[\s,]+", text):
        if not part:
            continue
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise SettingsError(
                f"REPORT_PROXY_ADDRESSES should be addresses or networks such as 10.0.0.0/24, not {part!r}"
            ) from None
    return tuple(found)


def _key(given: str, users: str, database_url: str) -> bytes:
    """The key that signs sessions.

    Without REPORT_SECRET_KEY it is derived from secrets that all processes of a deployment share: the password hashes
    and DATABASE_URL. So sessions survive a restart, and end when a user or password changes.
    """
    if given and len(given) < SHORTEST_KEY:
        raise SettingsError(f"REPORT_SECRET_KEY should have at least {SHORTEST_KEY} characters, chosen at random")
    material = given or f"{users}\n{database_url}"
    return hmac.new(b"case-worker report sessions", material.encode(), hashlib.sha256).digest()
