"""The mint as the fleet uses it: within its rate limits, counted across all workers, and measured."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from worker.debitura.apis import MintedToken, mint_token
from worker.debitura.http import HttpClient
from worker.errors import (
    ApiError,
    ClientLinkNotFound,
    MintRateLimited,
    MintRefused,
    MintUnavailable,
    PartnerKeyRejected,
)
from worker.ledger.database import run_with_retry
from worker.ledger.states import Api
from worker.ledger.writer.pace import lock_for_release, take, use
from worker.policy.rate_limit import Pace
from worker.telemetry.metrics import count, definitions
from worker.telemetry.tracing import span

#: Seconds for which the fleet waits when our own count says that the mint's limits are used up.
MINT_PAUSE = 5.0

_RESULTS: dict[type[ApiError], str] = {
    ClientLinkNotFound: "no_client_link",
    MintRefused: "refused",
    PartnerKeyRejected: "key_rejected",
    MintRateLimited: "rate_limited",
    MintUnavailable: "unavailable",
}


class Mint:
    """POST /oauth/token with the partner's API key. Thread-safe."""

    def __init__(self, engine: Engine, client: HttpClient, *, api_key: str, pace: Pace) -> None:
        self._engine = engine
        self._client = client
        self._api_key = api_key
        self._pace = pace
        self.answers = 0
        """How often the mint has answered this process, with a token or with a refusal of the tenant."""

    def __call__(self, tenant: str) -> MintedToken:
        """Return a new token for the tenant. Raises what `mint_token` raises, and MintRateLimited by our own count."""
        if not run_with_retry(self._engine, self._reserve, until=lambda: True, otherwise=True):
            raise MintRateLimited(MINT_PAUSE, said_by="our own count")
        try:
            with span("mint", kind="client", http__request__method="POST", http__route="/oauth/token"):
                minted = mint_token(self._client, api_key=self._api_key, external_tenant_id=tenant)
        except ApiError as error:
            count(definitions.MINTS, _RESULTS[type(error)])
            if isinstance(error, (ClientLinkNotFound, MintRefused)):
                self.answers += 1
            raise
        count(definitions.MINTS, "minted")
        self.answers += 1
        return minted

    def _reserve(self, connection: Connection) -> bool:
        lock_for_release(connection, Api.REFERRAL)
        used = use(connection, Api.REFERRAL, self._pace)
        if not self._pace.within(used.requests):
            return False
        take(connection, Api.REFERRAL, self._pace, 1)
        return True
