"""Read what the sandbox received, and make it fail."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

import requests


class Witness:
    """The sandbox's control endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = requests.Session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def control(self, name: str, **fields: Any) -> Any:
        """Set something."""
        response = self._http.post(f"{self.url}/_sandbox/{name}", json=fields, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def look(self, name: str, **query: str) -> Any:
        """Read something."""
        response = self._http.get(f"{self.url}/_sandbox/{name}", params=query, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def faults(self, *rules: dict[str, Any]) -> None:
        """Set these fault rules and remove all others."""
        self.control("faults", rules=list(rules))

    def fault(self, endpoint: str, kind: str, **more: Any) -> None:
        """Set one fault rule and remove all others."""
        self.faults({"endpoint": endpoint, "kind": kind, **more})

    def link(self, tenant: str, state: str) -> None:
        """Set a tenant's client link."""
        self.control("links", externalTenantId=tenant, state=state)

    def cases(self) -> list[dict[str, Any]]:
        """The cases that the sandbox created."""
        return list(self.look("cases"))

    def posts(self, key: UUID | str | None = None) -> list[dict[str, Any]]:
        """The requests to POST /cases (with that Idempotency-Key), in order."""
        found = self.look("requests", path="/cases")
        return [r for r in found if r["method"] == "POST" and key in (None, r["idempotencyKey"], UUID_OF(r))]

    def statuses(self) -> list[int | None]:
        """The status of the answer to each POST /cases."""
        return [request["status"] for request in self.posts()]

    def lookups(self) -> int:
        """How often a case was looked up by its creditorReference."""
        return len(self.look("requests", path="/cases/by-creditor-reference/*"))

    def mints(self) -> int:
        """How many tokens were minted."""
        return int(self.look("stats")["mints"])

    def mint_requests(self) -> int:
        """How many mint requests were made, whatever their answer."""
        return len(self.look("requests", path="/oauth/token"))


def UUID_OF(request: dict[str, Any]) -> UUID | None:  # noqa: N802
    """A request's Idempotency-Key as the ledger has it."""
    key = request["idempotencyKey"]
    return UUID(key) if key else None
