"""Tenant tokens: minted for a client link, valid for a limited time, revocable.

Source: referral-partners/getting-started/authentication.
"""

from __future__ import annotations

import math
import secrets
import uuid
from collections import Counter
from dataclasses import dataclass

import jwt

_CREDITORS = uuid.UUID("6f1d3a52-8f0e-4b58-9a6b-0c9a5d1f7e21")
"""The namespace for creditor ids, so that a tenant id gives the same creditor in every run."""


def creditor_id(tenant: str) -> str:
    """The creditor id for a tenant id; always the same."""
    return str(uuid.uuid5(_CREDITORS, tenant))


@dataclass(slots=True)
class Token:
    """An issued token. `expires_at` is in seconds since the epoch."""

    tenant: str
    creditor_id: str
    expires_at: float
    revoked: bool = False


class Tokens:
    """All tokens of this run, including expired ones: the request log still needs their tenant."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._by_header: dict[bytes, Token] = {}
        self.mints: Counter[str] = Counter()

    def mint(self, tenant: str, *, now: float, seconds: float) -> tuple[str, Token]:
        """Issue an HS256 JWT for the tenant, valid for `seconds` from `now`."""
        token = Token(tenant, creditor_id(tenant), now + seconds)
        claims = {
            "sub": token.creditor_id,
            "externalTenantId": tenant,
            "iat": int(now),
            "exp": math.ceil(token.expires_at),
            "jti": uuid.uuid4().hex,
        }
        encoded = jwt.encode(claims, self._secret, algorithm="HS256")
        self._by_header[b"Bearer " + encoded.encode()] = token
        self.mints[tenant] += 1
        return encoded, token

    def of_header(self, authorization: bytes) -> Token | None:
        """The token in an Authorization header, even if expired or revoked; None if it was never issued."""
        token = self._by_header.get(authorization)
        if token is None and authorization[:7].lower() == b"bearer ":
            token = self._by_header.get(b"Bearer " + authorization[7:].strip())
        return token

    def revoke(self, tenant: str | None = None) -> int:
        """Revoke the tokens of one tenant, or of all. Returns how many were revoked."""
        revoked = 0
        for token in self._by_header.values():
            if not token.revoked and tenant in (None, token.tenant):
                token.revoked = True
                revoked += 1
        return revoked
