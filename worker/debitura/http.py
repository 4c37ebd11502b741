"""One seam to the network: every foreign exception becomes ours, every answer a small plain value.

The question that matters after a failure is whether the request may have arrived. `NotSent` means certainly not;
`MaybeArrived` means that nobody on this side knows.
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

#: Bytes of an answer that are read at most. A case's answer has a few kilobytes.
MAX_BODY = 1024 * 1024
CONNECT_TIMEOUT = 5.0
#: The paths that are asked for, the longer ones first; what follows them names a tenant or a case.
ENDPOINTS = ("/cases/by-creditor-reference", "/cases", "/oauth/token", "/clients")
USER_AGENT = f"case-worker/{version('case-worker')} (debt-collection case submission)"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, whatever its form."""

    status: int
    body: bytes
    retry_after: str | None = None
    """The Retry-After header as it came; the API documents none, a gateway may send one."""
    whole: bool = True
    """False: the body was longer than MAX_BODY, or ended before its announced length."""


class HttpClient:
    """Kept-alive connections to one API, shared by the threads of this process.

    `timeout` is the read timeout in seconds: the longest silence that is waited for, and, for the whole answer, twice
    that, so that a body which drips cannot hold a thread for ever.
    """

    def __init__(self, base_url: str, *, timeout: float, connections: int, measured: bool = True) -> None:
        """`measured`: whether it is one of Debitura's APIs, whose requests are counted."""
        self.base_url = base_url
        self._measured = measured
        self._timeout = timeout
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
        # What requests would work out again for each request is worked out once: proxies and the CA bundle of the
        # environment, and no cookies, ever: one tenant's must not travel with another's request.
        self._session = requests.Session()
        self._proxies = get_environ_proxies(base_url)
        merged = self._session.merge_environment_settings(base_url, {}, stream=True, verify=None, cert=None)
        self._verify: bool | str = merged["verify"] or True  # an environment may name a CA bundle, never switch it off
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.trust_env = False

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Send one request, once. Raises NotSent or MaybeArrived; any answer at all is a Reply."""
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
            self._measure(sent_at, method, path, "not_sent" if _never_left(error) else "no_answer")
            raise (NotSent if _never_left(error) else MaybeArrived)(_in_words(error)) from None
        reply = _read(response, give_up_at)
        self._measure(sent_at, method, path, str(reply.status))
        return reply

    def _measure(self, sent_at: float, method: str, path: str, status: str) -> None:
        if self._measured:
            observe(definitions.API_REQUEST, time.monotonic() - sent_at, f"{method} {_endpoint(path)}", status)


def _endpoint(path: str) -> str:
    """The path without what names a tenant or a case."""
    return next((known for known in ENDPOINTS if path == known or path.startswith(f"{known}/")), "other")


def _read(response: requests.Response, give_up_at: float) -> Reply:
    """Read the body piece by piece, up to MAX_BODY bytes and not beyond the time. An incomplete body is still a Reply:
    its status line has come, and that may be all that is needed."""
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


def _never_left(error: Exception) -> bool:
    """Whether no connection was made at all (name look-up, connect, certificate, proxy)."""
    if isinstance(error, requests.exceptions.SSLError):
        # A TLS error in the middle of a connection proves nothing; one over the certificate came before any request.
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _in_words(error: Exception) -> str:
    """What happened, in words that hold nothing of the request. (requests' own text repeats the URL.)"""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection within the time"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return "no answer within the time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the TLS connection failed: certificate or protocol"
    if _never_left(error):
        return "no connection could be made"
    return "the connection broke before the answer came"
