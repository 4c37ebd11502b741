"""A referral partner's plain HTTP calls to the sandbox, without retries."""

from __future__ import annotations

import copy
from typing import Any, Self

import requests

VALID_CASE: dict[str, Any] = {
    "currencyCode": "DKK",
    "amountToRecover": 1250.5,
    "date": "2026-01-10",
    "dueDate": "2026-02-09T00:00:00Z",
    "claimDescription": "Unpaid invoice",
    "debtor": {
        "type": "Company",
        "name": "Ærøskøbing Bådebyggeri ApS",
        "address": "Havnegade 12",
        "zipCode": "5970",
        "city": "Ærøskøbing",
        "countryAlpha2": "DK",
        "email": "regnskab@aeroebaade.example",
    },
}


class Partner:
    """One partner with one key; mints a tenant's token once and keeps it."""

    def __init__(self, url: str, api_key: str = "sandbox-partner-key") -> None:
        self.url = url
        self.api_key = api_key
        self.http = requests.Session()
        self._tokens: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.http.close()

    @staticmethod
    def case(**changes: Any) -> dict[str, Any]:
        """A valid case with some top-level fields changed; None removes a field."""
        case = copy.deepcopy(VALID_CASE) | changes
        return {name: value for name, value in case.items() if value is not None}

    def mint(self, tenant: object = "acme") -> requests.Response:
        return self.http.post(
            f"{self.url}/oauth/token",
            json={"externalTenantId": tenant},
            headers={"XApiKey": self.api_key},
            timeout=10,
        )

    def token(self, tenant: str = "acme") -> str:
        if tenant not in self._tokens:
            self._tokens[tenant] = self.mint(tenant).json()["accessToken"]
        return self._tokens[tenant]

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def client(self, tenant: str) -> requests.Response:
        return self.http.get(f"{self.url}/clients/{tenant}", headers={"XApiKey": self.api_key}, timeout=10)

    def headers(self, tenant: str = "acme", **more: str) -> dict[str, str]:
        authorization = f"Bearer {self.token(tenant)}"
        return {"Authorization": authorization, "Accept": "application/json", **more}

    def post(
        self, case: object, *, tenant: str = "acme", key: str | None = None, timeout: float = 10
    ) -> requests.Response:
        headers = self.headers(tenant) | ({} if key is None else {"Idempotency-Key": key})
        return self.http.post(f"{self.url}/cases", json=case, headers=headers, timeout=timeout, allow_redirects=False)

    def get(self, path: str, *, tenant: str = "acme") -> requests.Response:
        return self.http.get(f"{self.url}{path}", headers=self.headers(tenant), timeout=10)

    def control(self, name: str, **fields: Any) -> Any:
        """Set something by a control endpoint."""
        response = self.http.post(f"{self.url}/_sandbox/{name}", json=fields, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def look(self, name: str, **query: str) -> Any:
        """Read a control endpoint."""
        response = self.http.get(f"{self.url}/_sandbox/{name}", params=query, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def stats(self) -> Any:
        return self.look("stats")
