"""Count what each API is sent, in the transaction that releases it: so nothing is released uncounted or counted twice,
and an emptied Redis loses nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from worker.ledger.states import Api
from worker.policy.rate_limit import Pace

#: Seconds after which counts per second are merged into counts per minute.
FINE_FOR = 300
#: Seconds for which a dispatcher may hold the lock for release while idle in its transaction.
FROZEN_FOR = 3
#: Seconds for which counts are kept: the API's longest window, and a margin.
KEPT_FOR = 86_400 + 120


@dataclass(frozen=True, slots=True)
class Use:
    """How much of an API's limits is used."""

    ahead: float
    """Seconds by which the releases so far are ahead of the even pace; negative when behind."""
    requests: dict[int, int]
    """Requests in each window, by its seconds. A window counts whole buckets, so rather too many than too few."""


_USE = text(
    """
    SELECT EXTRACT(epoch FROM p.next_at - clock_timestamp())::float8 AS ahead, w.seconds,
           COALESCE((SELECT sum(u.requests) FROM api_use u
                     WHERE u.api = p.api AND u.since > (SELECT clock_timestamp()) - make_interval(
                         secs => w.seconds + w.margin)), 0) AS requests
    FROM pace p CROSS JOIN unnest(CAST(:windows AS int[]), CAST(:margins AS int[])) AS w(seconds, margin)
    WHERE p.api = :api
    """
)
# After the clock was set back, the fleet must not wait for hours to pass again: the pace is never kept further ahead
# than the even window.
_MOVE_ON = text(
    """
    UPDATE pace
    SET next_at = LEAST(GREATEST(next_at, clock_timestamp()), clock_timestamp() + make_interval(secs => :window))
                  + make_interval(secs => :cost)
    WHERE api = :api
    """
)
_COUNT = text(
    """
    INSERT INTO api_use (api, since, requests) VALUES (:api, date_trunc('second', clock_timestamp()), :requests)
    ON CONFLICT (api, since) DO UPDATE SET requests = api_use.requests + EXCLUDED.requests
    """
)
_ROLL_UP = text(
    """
    WITH old AS (
        DELETE FROM api_use
        WHERE since < date_trunc('minute', now() - make_interval(secs => :fine))
          AND (since <> date_trunc('minute', since) OR since < now() - make_interval(secs => :kept))
        RETURNING api, since, requests, answers, failures
    )
    INSERT INTO api_use AS u (api, since, requests, answers, failures)
    SELECT api, date_trunc('minute', since), sum(requests), sum(answers), sum(failures) FROM old
    WHERE since >= now() - make_interval(secs => :kept) GROUP BY 1, 2
    ON CONFLICT (api, since) DO UPDATE
    SET requests = u.requests + EXCLUDED.requests, answers = u.answers + EXCLUDED.answers,
        failures = u.failures + EXCLUDED.failures
    """
)
# Counts dated in the future: the clock was set back. Left there, they would fill every window until then; so move them
# back together, the newest to this second. (Older counts stay: rather too many than too few.)
_EARLY = text(
    """
    WITH ahead AS (SELECT max(since) - date_trunc('second', clock_timestamp()) AS step FROM api_use)
    DELETE FROM api_use USING ahead WHERE step > make_interval(secs => :slack) AND since > clock_timestamp()
    RETURNING api, since - step AS since, requests, answers, failures
    """
)
_PUT_IN_ITS_TIME = text(
    """
    INSERT INTO api_use AS u (api, since, requests, answers, failures)
    VALUES (:api, :since, :requests, :answers, :failures)
    ON CONFLICT (api, since) DO UPDATE
    SET requests = u.requests + EXCLUDED.requests, answers = u.answers + EXCLUDED.answers,
        failures = u.failures + EXCLUDED.failures
    """
)
#: Seconds by which a count may be ahead before the clock counts as set back.
SLACK = 5.0


def read_in_turn(connection: Connection) -> None:
    """Make the planner read the pending jobs in turn order, until this transaction ends.

    With statistics that lag behind a sudden backlog it would sort all of them, at every look.
    """
    connection.execute(text("SET LOCAL enable_sort = off"))


def lock_for_release(connection: Connection, api: Api = Api.CUSTOMER) -> None:
    """Let one dispatcher (for the Referral API: one worker) at a time reserve, until this transaction ends.

    One that freezes meanwhile (SIGSTOP, a stopped machine) loses its session after FROZEN_FOR, so that another can.
    """
    connection.execute(
        text(
            "SELECT set_config('idle_in_transaction_session_timeout', :frozen, true) FROM pace"
            " WHERE api = :api FOR UPDATE"
        ),
        {"frozen": f"{FROZEN_FOR}s", "api": api.value},
    )


def margin(window: int) -> int:
    """Return the seconds by which a window (in seconds) is counted longer, since its oldest bucket is counted whole."""
    return 60 if window > FINE_FOR else 1


def use(connection: Connection, api: Api, pace: Pace) -> Use:
    """Return how much of the limits is used now."""
    windows = [window.seconds for window in pace.windows]
    parameters = {"api": api.value, "windows": windows, "margins": [margin(seconds) for seconds in windows]}
    rows = connection.execute(_USE, parameters).all()
    return Use(rows[0].ahead, {row.seconds: row.requests for row in rows})


def take(connection: Connection, api: Api, pace: Pace, requests: int) -> None:
    """Count requests that are about to be sent, whether or not there was room for them.

    A negative number takes back the count of requests that will not be sent.
    """
    if requests:
        # Two statements, so that every writer locks the pace before the count: the parts of one have no order.
        cost = requests * pace.interval
        connection.execute(_MOVE_ON, {"api": api.value, "cost": cost, "window": pace.even.seconds})
        connection.execute(_COUNT, {"api": api.value, "requests": requests})


def roll_up(connection: Connection) -> None:
    """Merge old counts per second into counts per minute, and delete those beyond all windows.

    After the database's clock was set back, move the counts back too.
    """
    early = connection.execute(_EARLY, {"slack": SLACK}).mappings().all()
    if early:
        connection.execute(_PUT_IN_ITS_TIME, [dict(row) for row in early])
    connection.execute(_ROLL_UP, {"fine": FINE_FOR, "kept": KEPT_FOR})
