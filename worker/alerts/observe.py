"""Read the current conditions from the ledger, and the facts that an alert gives about them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from worker.alerts.changes import NAMED, Batch, Holding, to_be_checked, waits_too_long
from worker.ledger.alert_models import AlertKind
from worker.ledger.queries import alerts as queries
from worker.ledger.queries.alerts import Known
from worker.ledger.writer.holds import HoldName
from worker.policy import brake

#: Seconds of overlap between two checks for invalid links: no transaction of this project lasts longer.
MARGIN = 60.0
#: An error type that is a single word. Anything else may be a sentence, which could contain personal data.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
#: The key of the oldest-pending condition, which exists once per fleet.
PENDING_KEY = "oldest_pending"


def observe(
    connection: Connection, known: dict[str, Known], *, looked_at: datetime | None, oldest_pending: float
) -> list[Holding]:
    """All current conditions. `oldest_pending` is the limit in seconds, `looked_at` the time of the last check."""
    return [
        *_groups(connection),
        *_links(connection, known, looked_at),
        *_circuits(connection),
        *_pending(connection, known, oldest_pending),
    ]


def facts_of(connection: Connection, batch: Batch) -> dict[str, Any] | None:
    """The facts of a batch: how many, and the first few by name. None: all of them have ended in the meantime."""
    first = batch.members[:NAMED]
    match batch.kind:
        case AlertKind.NEW_FAILURE_GROUP:
            found = queries.group_facts(connection, [UUID(held.facts["cause"]) for held in first])
            groups = [
                {
                    "cause": str(group.cause),
                    "reason": group.reason,
                    "errorType": word(group.error_type),
                    "httpStatus": group.http_status,
                    "failures": group.failures,
                }
                for group in found
            ]
            gone = len(first) - len(groups)
            return {"count": len(batch.members) - gone, "groups": groups} if groups else None
        case AlertKind.INVALID_LINK:
            return {"count": len(batch.members), "links": [held.facts for held in first]}
        case _:
            # The other kinds are never combined.
            return first[0].facts


def ending_facts(condition: Known) -> dict[str, Any]:
    """The facts of an alert about an ended condition."""
    return dict(condition.facts) | {"seconds": round(condition.held_seconds, 1)}


def word(error_type: str | None) -> str | None:
    """The error type if it is a single word such as `MissingKycVerification`, else None."""
    return error_type if error_type and _WORD.fullmatch(error_type) else None


def _groups(connection: Connection) -> list[Holding]:
    return [
        Holding(
            f"group:{found.cause}", AlertKind.NEW_FAILURE_GROUP, str(found.first_letter), {"cause": str(found.cause)}
        )
        for found in queries.open_causes(connection)
    ]


def _links(connection: Connection, known: dict[str, Known], looked_at: datetime | None) -> list[Holding]:
    """Links that failed recently, and known ones that still have failures; see `to_be_checked`."""
    holding = {
        key: Holding(key, AlertKind.INVALID_LINK, "", condition.facts)
        for key, condition in known.items()
        if condition.kind == AlertKind.INVALID_LINK
    }
    fresh = [
        Holding(
            f"link:{link.external_tenant_id}",
            AlertKind.INVALID_LINK,
            str(link.first_letter),
            {"externalTenantId": link.external_tenant_id, "reason": link.reason},
        )
        for link in queries.bad_links_since(connection, looked_at, margin=MARGIN, settles=brake.SETTLES_AFTER)
    ]
    asked = to_be_checked(known, {held.key for held in fresh})
    tenants = [str(condition.facts["externalTenantId"]) for condition in asked]
    still = queries.still_bad_links(connection, tenants)
    for condition, tenant in zip(asked, tenants, strict=True):
        if tenant not in still:
            del holding[condition.key]
    return list({**holding, **{held.key: held for held in fresh}}.values())


def _circuits(connection: Connection) -> list[Holding]:
    return [
        Holding(
            f"circuit:{found.name}:{found.since.isoformat()}",
            AlertKind.PARTNER_KEY_REFUSED if found.name == HoldName.API_KEY else AlertKind.CIRCUIT_OPENED,
            found.since.isoformat(),
            {"circuit": found.name, "since": found.since.isoformat()},
        )
        for found in queries.open_circuits(connection)
    ]


def _pending(connection: Connection, known: dict[str, Known], limit: float) -> list[Holding]:
    since, seconds = queries.oldest_pending(connection) or (None, None)
    if since is None or not waits_too_long(seconds, limit, told=PENDING_KEY in known):
        return []
    facts = {"since": since.isoformat(), "seconds": round(seconds or 0.0, 1), "limit": limit}
    return [Holding(PENDING_KEY, AlertKind.OLDEST_PENDING_OVER, since.isoformat(), facts)]
