"""The client of a request: the browser itself, or a trusted proxy in front of it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from worker.report.web.configuration import WebSettings


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known about the client."""

    address: str
    """The browser's address, as far as trusted proxies report it."""
    secure: bool
    """Whether the browser uses https, to us or to the proxy."""
    trusted: bool
    """Whether the request comes from a configured proxy."""
    user: str | None
    """The user that the proxy names."""


def peer_of(scope: Scope, settings: WebSettings) -> Peer:
    """Read the client from the request; use forwarding headers only if it comes from a configured proxy."""
    headers = Headers(scope=scope)
    address = str((scope.get("client") or ("", 0))[0])
    secure = scope.get("scheme") == "https"
    if not _is_trusted(address, settings):
        return Peer(address, secure, trusted=False, user=None)
    forwarded = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip()
    user = _single_value(headers.getlist(settings.proxy_header)) if settings.proxy_header else None
    return Peer(_client_address(headers, address, settings), secure or forwarded == "https", trusted=True, user=user)


def _client_address(headers: Headers, address: str, settings: WebSettings) -> str:
    """The last address in X-Forwarded-For that is not our proxy: the client may have written the ones before it."""
    for listed in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
        found = listed.strip()
        if not _is_address(found):
            break
        address = found
        if not _is_trusted(found, settings):
            break
    return address


def _single_value(values: list[str]) -> str | None:
    """The header's value if it occurs once; of two, the browser may have sent one."""
    value = values[0].strip() if len(values) == 1 else ""
    return value if value and value.isprintable() and len(value) <= 100 else None


def _is_trusted(address: str, settings: WebSettings) -> bool:
    if not _is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(mapped in network for network in settings.proxy_addresses)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
