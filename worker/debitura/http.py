"""The only access to the network: library exceptions become ours, responses become plain values.

After a failure it matters whether the request may have arrived. `NotSent`: it did not. `MaybeArrived`: unknown.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from worker.errors import MaybeArrived, NotSent
from worker.telemetry.metrics import definitions, observe

#: Maximum bytes read of a response. A case's response has a few kilobytes.
MAX_BODY = 1024 * 1024
CONNECT_TIMEOUT = 5.0
#: Path prefixes for metrics, longer ones first; the rest of a path identifies a tenant or case.
ENDPOINTS = ("/cases/by-creditor-reference", "/cases", "/oauth/token", "/clients")
USER_AGENT = f"case-worker/{version('case-worker')} (debt-collection case submission)"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response with any content."""

    status: int
    body: bytes
    retry_after: str | None = None
    """The raw Retry-After header; the API documents none, but a gateway may send one."""
    whole: bool = True
    """False if the body was longer than MAX_BODY or incomplete."""


class HttpClient:
    """Persistent connections to one API, shared by the threads of this process.

    `timeout` is the read timeout in seconds. The whole response may take twice as long, so that a slow body cannot
    block a thread forever.
    """

    def __init__(self, base_url: str, *, timeout: float, connections: int, measured: bool = True) -> None:
        """`measured`: whether to record metrics; for Debitura's APIs only."""
        self.base_url = base_url
        self._measured = measured
        self._timeout = timeout
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
        # Determine proxies and the CA bundle once, not per request. Never send cookies: one tenant's must not be sent
        # with another's request.
        self._session = requests.Session()
        self._proxies = get_environ_proxies(base_url)
        merged = self._session.merge_environment_settings(base_url, {}, stream=True, verify=None, cert=None)
        self._verify: bool | str = (
            merged["verify"] or True
        )  # the environment may set a CA bundle, but not disable verification
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.trust_env = False

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Send a request once. Raises NotSent or MaybeArrived; any response is returned as a Reply."""
        prepared = requests.PreparedRequest()
        prepared.prepare_method(method)
        prepared.url = self.base_url + path
        prepared.prepare_headers({"User-Agent": USER_AGENT, "Accept": "application/json", **headers})
        prepared.body = body
        if body is not None:
            prepared.headers["Content-Length"] = str(len(body))
        sent_at = time.monotonic()
        give_up_at = sent_at + 2 * self._timeout
        try:
            response = self._adapter.send(
                prepared,
                stream=True,
                timeout=(min(CONNECT_TIMEOUT, self._timeout), self._timeout),
                verify=self._verify,
                proxies=self._proxies,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            self._measure(sent_at, method, path, "not_sent" if _is_not_sent(error) else "no_answer")
            raise (NotSent if _is_not_sent(error) else MaybeArrived)(_describe(error)) from None
        reply = _read(response, give_up_at)
        self._measure(sent_at, method, path, str(reply.status))
        return reply

    def _measure(self, sent_at: float, method: str, path: str, status: str) -> None:
        if self._measured:
            observe(definitions.API_REQUEST, time.monotonic() - sent_at, f"{method} {_endpoint(path)}", status)


def _endpoint(path: str) -> str:
    """The path without the part that identifies a tenant or case."""
    return next((known for known in ENDPOINTS if path == known or path.startswith(f"{known}/")), "other")


def _read(response: requests.Response, give_up_at: float) -> Reply:
    """Read the body in pieces, up to MAX_BODY bytes and until `give_up_at`. An incomplete body still gives a Reply: the
    status may be enough."""
    raw: urllib3.HTTPResponse = response.raw
    pieces: list[bytes] = []
    size, whole = 0, True
    try:
        while piece := raw.read1(65_536, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BODY or time.monotonic() > give_up_at:
                whole = False
                break
    except (urllib3.exceptions.HTTPError, OSError):
        whole = False
    if whole:
        raw.release_conn()
    else:
        raw.close()
    body = b"".join(pieces)[:MAX_BODY]
    return Reply(response.status_code, body, response.headers.get("Retry-After"), whole)


def _is_not_sent(error: Exception) -> bool:
    """Whether the connection failed before the request (DNS, connect, certificate, proxy)."""
    if isinstance(error, requests.exceptions.SSLError):
        # Only a certificate error is sure to come before the request; other TLS errors may come later.
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _describe(error: Exception) -> str:
    """Describe the error without the request's content. (requests' own text includes the URL.)"""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection before the timeout"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return "no response before the timeout"
    if isinstance(error, requests.exceptions.SSLError):
        return "the TLS connection failed: certificate or protocol"
    if _is_not_sent(error):
        return "the connection failed"
    return "the connection broke before the response"
