"""Why nothing is released now. A hold is a row, so that the fleet agrees and people can read the reason.

A rate limit's hold just expires. A circuit's hold outlives its time: then one job at a time goes out as a probe, and
the circuit closes when a probe succeeds. A broker that accepts no messages is recorded in the dispatcher's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import Api
from worker.policy import brake
from worker.policy.circuit_breaker import PROBE_AT_LEAST_EVERY


class HoldName(StrEnum):
    """What holds the fleet."""

    RATE_LIMIT = "rate_limit"
    """The Customer API answered 429; nothing is sent until the time it named."""
    MINT_RATE_LIMIT = "mint_rate_limit"
    """The Referral API answered 429, or its limits are used up by our own count."""
    API_KEY = "api_key"
    """Circuit: the partner API key is refused. An operator must give the workers a valid key."""
    CUSTOMER_API = "customer_api"
    """Circuit: the Customer API has a fault."""
    REFERRAL_API = "referral_api"
    """Circuit: no tokens can be minted."""
    BRAKE = "brake"
    """Circuit: the API refuses every job alike (`worker.policy.brake`)."""


CIRCUITS = (HoldName.API_KEY, HoldName.CUSTOMER_API, HoldName.REFERRAL_API, HoldName.BRAKE)
CIRCUIT_OF = {Api.CUSTOMER: HoldName.CUSTOMER_API, Api.REFERRAL: HoldName.REFERRAL_API}

#: Days for which a job's timeline shows what held it.
PAST_HOLDS_KEPT_DAYS = 90
#: Seconds between two probes while the partner API key is refused.
API_KEY_HOLD = 10.0

_HOLD = text(
    """
    WITH lapsed AS (
        INSERT INTO past_holds (name, since, ended_at)
        SELECT name, since, until FROM holds WHERE name = :name AND until < now() AND NOT :circuit
        ON CONFLICT DO NOTHING
    )
    INSERT INTO holds AS h (name, until, detail) VALUES (:name, now() + make_interval(secs => :seconds), :detail)
    ON CONFLICT (name) DO UPDATE
    SET until = GREATEST(h.until, EXCLUDED.until), detail = EXCLUDED.detail,
        since = CASE WHEN h.until < now() AND NOT :circuit THEN now() ELSE h.since END,
        probe_job = CASE WHEN h.probe_job = ANY(:jobs) THEN NULL ELSE h.probe_job END
    """
)
_END_LAPSED = text(
    """
    WITH ended AS (
        DELETE FROM holds WHERE until <= now() AND name <> ALL(:circuits) RETURNING name, since, until
    )
    INSERT INTO past_holds (name, since, ended_at) SELECT name, since, until FROM ended ON CONFLICT DO NOTHING
    """
)
_FORGET = text("DELETE FROM past_holds WHERE ended_at < now() - make_interval(days => :days)")
# It lasts longer than such a hold can, or began in the future: the clock was set back since.
_SET_BACK = text(
    """
    UPDATE holds
    SET since = LEAST(since, now()),
        until = now() + CASE WHEN name = ANY(:circuits) THEN make_interval(secs => :again) ELSE until - since END
    WHERE since > now() OR name = ANY(:circuits) AND until > now() + make_interval(secs => :longest)
    """
)


def hold(connection: Connection, name: HoldName, *, seconds: float, detail: str, jobs: Sequence[UUID] = ()) -> None:
    """Hold the whole fleet for that long from now; a longer hold of the same name is left as it is.

    `jobs` are those that found the cause; if one was the probe, the next probe may go out when the time is over.
    """
    parameters = {
        "name": name.value, "seconds": seconds, "detail": detail, "circuit": name in CIRCUITS, "jobs": list(jobs)
    }  # fmt: skip
    connection.execute(_HOLD, parameters)


def is_held(connection: Connection) -> bool:
    """Whether a hold is in force now."""
    return bool(connection.execute(text("SELECT EXISTS (SELECT FROM holds WHERE until > now())")).scalar())


def start_probe(connection: Connection, job: UUID, tenant: str) -> None:
    """Make this job, of that tenant, the probe of all circuits whose time is over."""
    connection.execute(
        text(
            "UPDATE holds SET probe_job = :job, probe_tenant = :tenant, probes = probes + 1"
            " WHERE until <= now() AND name = ANY(:circuits)"
        ),
        {"job": job, "tenant": tenant, "circuits": [name.value for name in CIRCUITS]},
    )


def end_lapsed_holds(connection: Connection) -> None:
    """Delete rate limits' holds whose time is over. A circuit's hold stays until a probe succeeds.

    After the database's clock was set back, cut each hold to its intended length.
    """
    circuits = [name.value for name in CIRCUITS]
    longest = max(API_KEY_HOLD, PROBE_AT_LEAST_EVERY, brake.PROBE_AT_LEAST_EVERY)
    connection.execute(_SET_BACK, {"circuits": circuits, "longest": longest, "again": API_KEY_HOLD})
    connection.execute(_END_LAPSED, {"circuits": circuits})


def forget_past_holds(connection: Connection) -> None:
    """Delete holds that ended too long ago to be of interest."""
    connection.execute(_FORGET, {"days": PAST_HOLDS_KEPT_DAYS})


def note_unpublished(connection: Connection) -> None:
    """Record that the broker has not accepted a message. The time is kept until `note_published`."""
    connection.execute(text("UPDATE dispatcher SET unpublished_since = COALESCE(unpublished_since, now())"))


def note_published(connection: Connection) -> None:
    """Record that the broker accepts messages again."""
    connection.execute(text("UPDATE dispatcher SET unpublished_since = NULL WHERE unpublished_since IS NOT NULL"))
