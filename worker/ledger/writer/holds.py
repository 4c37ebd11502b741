"""Why nothing is released just now. A hold is a row, so that the fleet agrees and people can read the reason."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Connection, text


class HoldName(StrEnum):
    """What holds the fleet."""

    RATE_LIMIT = "rate_limit"
    """The Customer API said 429; nothing is sent until it said so."""
    MINT_RATE_LIMIT = "mint_rate_limit"
    """The Referral API said 429."""
    API_KEY = "api_key"
    """The partner API key is refused. When the time is over, jobs go out one at a time until a mint works."""


#: Seconds between two tries while the partner API key is refused.
API_KEY_HOLD = 30.0

_HOLD = text(
    """
    INSERT INTO holds (name, until, detail) VALUES (:name, now() + make_interval(secs => :seconds), :detail)
    ON CONFLICT (name) DO UPDATE
    SET until = GREATEST(holds.until, EXCLUDED.until), detail = EXCLUDED.detail,
        since = CASE WHEN holds.until < now() AND holds.name <> 'api_key' THEN now() ELSE holds.since END
    """
)


def hold(connection: Connection, name: HoldName, *, seconds: float, detail: str) -> None:
    """Hold the whole fleet for that long from now; a longer hold of the same name is left as it is."""
    connection.execute(_HOLD, {"name": name.value, "seconds": seconds, "detail": detail})


def end_lapsed_holds(connection: Connection) -> None:
    """Take away rate-limit holds whose time is over. The API key's stays until a mint has worked."""
    connection.execute(text("DELETE FROM holds WHERE until <= now() AND name <> 'api_key'"))
