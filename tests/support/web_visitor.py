"""A visitor of the web page without a browser: follows no redirects and submits forms as shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx2 as httpx
from starlette.testclient import TestClient

from tests.support.databases import Database
from worker.report.web import passwords
from worker.report.web.application import create_application
from worker.report.web.security_middleware import SecurityMiddleware
from worker.settings import Settings

PASSWORD = "correct horse battery"
HASH = passwords.hash_password(PASSWORD)
USERS = f"olga:operator:{HASH} victor:viewer:{HASH}"


def report(ledger: Database, variables: Mapping[str, str], **more: str) -> SecurityMiddleware:
    """The page on that ledger; keywords are settings of its own."""
    environ = {**variables, **more}
    return create_application(Settings.from_environment(environ), ledger.engine, environ, local_name="local")


class Visitor:
    """A visitor's cookies, address and last page."""

    def __init__(
        self, app: SecurityMiddleware, *, address: str = "203.0.113.7", origin: str = "http://127.0.0.1:8080"
    ) -> None:
        self.http = TestClient(
            app,
            base_url=origin,
            client=(address, 50_000),
            follow_redirects=False,
            raise_server_exceptions=False,
        )
        self.html = ""

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask for a page. Header names are written with underscores."""
        response = self.http.get(path, headers=_headers(headers))
        self.html = response.text
        return response

    def post(self, path: str, *, at: str | None = None, form_token: str | None = None, **fields: Any) -> httpx.Response:
        """Send a form from the page `at`, by default the last one."""
        if at is not None:
            self.get(at)
        form = {"form_token": self.token() if form_token is None else form_token, **fields}
        response = self.http.post(
            path, content=urlencode(form, doseq=True), headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        self.html = response.text
        return response

    def token(self) -> str:
        """The token in the forms of the last page."""
        return self.hidden("form_token")

    def hidden(self, name: str) -> str:
        """A hidden field of the last page; empty if there is none."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.html)
        return found[1] if found else ""

    def sign_in(self, name: str = "olga", password: str = PASSWORD) -> httpx.Response:
        """Sign in with the form."""
        return self.post("/login", at="/login", name=name, password=password)


def _headers(named: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in named.items()}
