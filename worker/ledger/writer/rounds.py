"""The round being served, for each priority: kept by the releases, read by whoever arrives."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

#: SQL: the round being served, of `{priority}`: as far as releases have come, and no earlier than the first that waits.
#: A tenant at its cap, whose jobs of long ago still wait, does not lower it. A row of three and an index look-up.
SERVED_ROUND = """GREATEST(
            (SELECT s.round FROM served_rounds s WHERE s.priority = {priority}),
            COALESCE((SELECT p.round FROM jobs p WHERE p.state = 'pending' AND p.priority = {priority}
                      ORDER BY p.priority, p.round, p.created_at, p.id LIMIT 1), 0))"""

# Only where it rises: a row that is written at each tick would leave dead versions behind for every reader.
_RAISE = text(
    """
    UPDATE served_rounds s SET round = r.round
    FROM unnest(CAST(:priorities AS smallint[]), CAST(:rounds AS bigint[])) AS r(priority, round)
    WHERE s.priority = r.priority AND s.round < r.round
    """
)


def raise_served(connection: Connection, rounds: Mapping[int, int]) -> None:
    """These rounds, by priority, are being served; one that is behind what was served before changes nothing."""
    if rounds:
        connection.execute(_RAISE, {"priorities": list(rounds), "rounds": list(rounds.values())})
