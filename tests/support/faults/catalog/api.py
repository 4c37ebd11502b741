"""Faults of the two APIs: errors, hangs, broken connections, refusals, late answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.support.faults.catalog import Fault, Strike

#: Seconds that trouble with an API lasts here.
SPELL = 1.5


def _spell(**rule: Any) -> Callable[[Strike], None]:
    def happen(strike: Strike) -> None:
        strike.stage.witness.misbehave({"probability": 0.6, "seed": strike.dice.randrange(10**6), **rule})
        if rule["endpoint"] == "token":
            # Tokens live for half an hour and are shared: with one in the cache, nobody would ask the mint.
            strike.stage.witness.revoke_tokens()
        time.sleep(SPELL)
        (felt,) = strike.stage.witness.stats()["faults"]
        strike.stage.witness.misbehave()
        assert felt["hits"] or not strike.alone, f"no request was hit by {felt}"

    return happen


def revoke_tokens(strike: Strike) -> None:
    """All tenants' tokens are revoked at once."""
    strike.stage.witness.revoke_tokens()


def api_key_revoked(strike: Strike) -> None:
    """The partner key is refused for a while and all tokens are revoked. No job may die of it."""
    strike.stage.witness.accept_api_key(accepted=False)
    ((since,),) = strike.stage.rows("SELECT now()")
    strike.stage.witness.revoke_tokens()
    time.sleep(SPELL)
    dead = strike.stage.rows(_DEAD_OF_TWO_401S, since, since)
    assert not dead, f"jobs died because the partner's own key was refused: {dead}"
    strike.stage.witness.accept_api_key(accepted=True)


# Both 401s came after the last mint that can have worked. (A job that had met the first one before, of another strike's
# revocation or because its link is invalid, may die of its second one at any time.)
_DEAD_OF_TWO_401S = """
    SELECT job_id FROM dead_letters d WHERE reason = 'second_unauthorized' AND created_at > %s AND NOT EXISTS (
        SELECT FROM attempts a WHERE a.job_id = d.job_id AND outcome = 'unauthorized' AND started_at < %s)
"""


#: A release that refuses a field for everybody, in the API's own JSON.
BAD_RELEASE = {"body": '{"debtor.phone": ["Not allowed"]}', "contentType": "application/json"}

FAULTS = (
    Fault("api_500", "api", _spell(endpoint="cases", kind="status", status=500)),
    Fault("api_502_page", "api", _spell(endpoint="cases", kind="status", status=502)),
    Fault("api_silent", "api", _spell(endpoint="cases", kind="hang", probability=0.2)),
    Fault("api_slow_body", "api", _spell(endpoint="cases", kind="slow-body", delayMs=700, probability=0.3)),
    Fault("api_late", "api", _spell(endpoint="cases", kind="slow-headers", delayMs=1500, probability=0.3)),
    Fault("api_reset_before", "api", _spell(endpoint="cases", kind="reset-before")),
    Fault("api_reset_after", "api", _spell(endpoint="cases", kind="reset-after")),
    Fault("api_broken_off", "api", _spell(endpoint="cases", kind="truncated")),
    Fault("api_401_for_all", "api", _spell(endpoint="cases", kind="status", status=401, body="{}", probability=1)),
    Fault("api_firewall", "api", _spell(endpoint="cases", kind="html", status=403, probability=1)),
    Fault("api_lost_route", "api", _spell(endpoint="*", kind="html", status=404, probability=1)),
    Fault("api_redirect", "api", _spell(endpoint="cases", kind="status", status=302, body="", probability=1)),
    Fault("api_bad_release", "api", _spell(endpoint="cases", kind="status", status=400, probability=1, **BAD_RELEASE)),
    Fault("api_conflict", "api", _spell(endpoint="cases", kind="conflict")),
    Fault("api_429_storm", "api", _spell(endpoint="cases", kind="retry-after", retryAfter=1)),
    Fault("tokens_revoked", "api", revoke_tokens),
    Fault("mint_500", "api", _spell(endpoint="token", kind="status", status=500)),
    Fault("mint_silent", "api", _spell(endpoint="token", kind="hang")),
    Fault("api_key_revoked", "api", api_key_revoked),
)
