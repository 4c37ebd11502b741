"""The sandbox as a process of its own: it survives every fault, so it alone knows what was truly submitted."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import requests

from tests.support.faults.process_node import ProcessNode
from worker.debitura.tokens import MEMORY_SECONDS


class Witness(ProcessNode):
    """The stand-in for both APIs, and what it has seen."""

    ready_prompt = "listening on "

    def __init__(self, folder: Path) -> None:
        super().__init__("sandbox", [sys.executable, "-m", "worker.sandbox", "--port", "0"], folder, {})
        self._session = requests.Session()
        self._session.trust_env = False
        self.url = ""
        self._revoked_at = 0.0

    def start(self) -> None:
        """Start it, and learn its address."""
        super().start()
        self.ready()
        self.url = self.said().partition(self.ready_prompt)[2].split()[0]

    def teardown(self) -> None:
        """End it."""
        self._session.close()
        super().teardown()

    def cases(self) -> list[dict[str, Any]]:
        """Every case that was taken."""
        return self._get("cases")

    def posts(self) -> list[dict[str, Any]]:
        """Every POST /cases that came, oldest first."""
        return [entry for entry in self._get("requests?path=/cases") if entry["method"] == "POST"]

    def mints(self) -> list[dict[str, Any]]:
        """Every POST /oauth/token that came."""
        return self._get("requests?path=/oauth/token")

    def stats(self) -> dict[str, Any]:
        """Counts."""
        return self._get("stats")

    def misbehave(self, *rules: dict[str, Any]) -> None:
        """Put these fault rules in the place of all others."""
        self._post("faults", {"rules": list(rules)})

    def behave(self) -> None:
        """End all faults."""
        self.misbehave()
        self._post("settings", {"latencyMs": 0})
        self.accept_api_key(accepted=True)

    def be_slow(self, milliseconds: float) -> None:
        """Delay every answer."""
        self._post("settings", {"latencyMs": milliseconds})

    def revoke_tokens(self) -> int:
        """Revoke all living tokens at once; returns how many."""
        self._revoked_at = time.monotonic()
        return int(self._post("revoke-tokens", {})["revoked"])

    def let_revoked_tokens_go(self) -> None:
        """Wait until no worker remembers a token that was revoked.

        A worker that uses such a one just before another revocation meets a 401 twice, and rightly says that the link
        is invalid.
        """
        time.sleep(max(0.0, self._revoked_at + MEMORY_SECONDS + 1 - time.monotonic()))

    def accept_api_key(self, *, accepted: bool) -> None:
        """Whether the partner's API key is good."""
        self._post("api-key", {"accepted": accepted})

    def _get(self, name: str) -> Any:
        answer = self._session.get(f"{self.url}/_sandbox/{name}", timeout=20)
        answer.raise_for_status()
        return answer.json()

    def _post(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._session.post(f"{self.url}/_sandbox/{name}", json=body, timeout=20)
        answer.raise_for_status()
        return dict(answer.json())
