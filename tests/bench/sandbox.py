"""The HTTP server that all contestants send to, seen through its control endpoints."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

from local_stack import API_KEY


class Sandbox:
    """One sandbox process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def reset(self) -> None:
        """Forget all cases, tokens and requests."""
        self._call("/_sandbox/reset", {})

    def token(self, tenant: str) -> str:
        """Mint a token."""
        return str(self._call("/oauth/token", {"externalTenantId": tenant})["accessToken"])

    def answered(self) -> int:
        """How many POST /cases were answered with a case."""
        return int(self.posts().get("200", 0))

    def posts(self) -> dict[str, int]:
        """POST /cases by status."""
        return dict(self._call("/_sandbox/stats")["requests"].get("POST /cases", {}))

    def arrivals(self) -> list[float]:
        """When each POST /cases came in, in seconds since the epoch."""
        return [request["at"] for request in self._call("/_sandbox/requests?path=/cases")]

    def _call(self, path: str, fields: dict[str, Any] | None = None) -> Any:
        body = None if fields is None else json.dumps(fields).encode()
        with urlopen(
            Request(self.url + path, body, {"XApiKey": API_KEY, "Content-Type": "application/json"}), timeout=30
        ) as answer:
            return json.load(answer)
