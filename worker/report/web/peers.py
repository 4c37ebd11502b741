"""Who is at the other end of a request: the browser itself, or a proxy that we were told to believe."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from worker.report.web.configuration import WebSettings


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known of the other end."""

    address: str
    """The browser's address, as far as it can be known."""
    secure: bool
    """Whether the browser speaks https, with us or with the proxy."""
    believed: bool
    """Whether the request came from a configured proxy."""
    named: str | None
    """Whom the proxy names."""


def peer_of(scope: Scope, settings: WebSettings) -> Peer:
    """Look at where the request came from; forwarding headers count only when that is a configured proxy."""
    headers = Headers(scope=scope)
    address = str((scope.get("client") or ("", 0))[0])
    secure = scope.get("scheme") == "https"
    if not _in(address, settings):
        return Peer(address, secure, believed=False, named=None)
    forwarded = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip()
    named = _one(headers.getlist(settings.proxy_header)) if settings.proxy_header else None
    return Peer(_browser(headers, address, settings), secure or forwarded == "https", believed=True, named=named)


def _browser(headers: Headers, address: str, settings: WebSettings) -> str:
    """The last address in X-Forwarded-For that is not a proxy of ours: what stands before it, anybody could write."""
    for listed in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
        found = listed.strip()
        if not _is_address(found):
            break
        address = found
        if not _in(found, settings):
            break
    return address


def _one(values: list[str]) -> str | None:
    """The header's value, if it came once: of two, one may be the browser's own."""
    value = values[0].strip() if len(values) == 1 else ""
    return value if value and value.isprintable() and len(value) <= 100 else None


def _in(address: str, settings: WebSettings) -> bool:
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
