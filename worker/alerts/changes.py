"""What has changed since the last look, and how it is told. Pure: sets in, decisions out.

What holds is compared with what has been told of. So nothing is lost by a crash, and what cannot be told yet (too much
was told lately) is simply still new at the next look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.ledger.alert_models import AlertKind
from worker.ledger.queries.alerts import Known

#: Within so many seconds no kind is told more often than MOST times; what comes beyond that waits and is summed up.
WINDOW, MOST = 600.0, 5
#: So many new ones at a look are told one by one; more are one alert.
SINGLY = 3
#: Of those that are summed up, so many are named.
NAMED = 10
#: Seconds for which something with a silent end must have been gone before its return is news: a replayed job that
#: dies again is none.
QUIET = 3600.0
#: Seconds between two times that what holds is written down as still holding.
REFRESH = 60.0
#: Below this share of the limit the oldest pending job is told to have recovered: around the limit it would be told
#: again and again.
RECOVERED_AT = 0.8

#: Kinds of which many can come at once; of the others there are one or two.
SUMMED_UP = (AlertKind.NEW_FAILURE_GROUP, AlertKind.INVALID_LINK)

#: Kinds whose end is told too, and how.
ENDINGS = {
    AlertKind.PARTNER_KEY_REFUSED: AlertKind.PARTNER_KEY_ACCEPTED,
    AlertKind.CIRCUIT_OPENED: AlertKind.CIRCUIT_CLOSED,
    AlertKind.OLDEST_PENDING_OVER: AlertKind.OLDEST_PENDING_RECOVERED,
}


@dataclass(frozen=True, slots=True)
class Holding:
    """Something that holds just now."""

    key: str
    kind: AlertKind
    episode: str
    """Tells this time from an earlier one of the same key: the first failure's id, the moment it began."""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """What is told in one alert: all of one kind, at least one."""

    members: tuple[Holding, ...]

    @property
    def kind(self) -> AlertKind:
        """What they have in common."""
        return self.members[0].kind

    @property
    def dedup_key(self) -> str:
        """Names the event: the same members in the same episodes make the same key."""
        names = "\n".join(sorted(f"{member.key}#{member.episode}" for member in self.members))
        return f"{self.kind}:{hashlib.sha256(names.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Changes:
    """What one look has come to."""

    begun: tuple[Batch, ...]
    ended: tuple[Known, ...]
    """Those whose end is told."""
    forgotten: tuple[str, ...]
    """Keys that are gone for good without a word."""
    refreshed: tuple[str, ...]
    """Keys that still hold, and whose row says so too long ago."""


def changes(known: Mapping[str, Known], holding: Sequence[Holding], told: Mapping[str, int]) -> Changes:
    """Compare what holds with what was told of. `told`: how often each kind was told within WINDOW seconds."""
    now = {held.key for held in holding}
    begun = []
    for kind in AlertKind:
        new = [held for held in holding if held.kind is kind and held.key not in known]
        begun += batches(new, told.get(kind, 0))
    gone = [condition for key, condition in known.items() if key not in now]
    return Changes(
        begun=tuple(begun),
        ended=tuple(condition for condition in gone if AlertKind(condition.kind) in ENDINGS),
        forgotten=tuple(
            condition.key
            for condition in gone
            if AlertKind(condition.kind) not in ENDINGS and condition.seen_seconds_ago > QUIET
        ),
        refreshed=tuple(key for key, condition in known.items() if key in now and condition.seen_seconds_ago > REFRESH),
    )


def batches(new: Sequence[Holding], told: int) -> list[Batch]:
    """How these are told, all of one kind and `told` alerts of it told lately: one by one, as one sum, or not yet."""
    room = MOST - told
    if not new or room <= 0:
        return []
    if new[0].kind not in SUMMED_UP:
        return [Batch((held,)) for held in new[:room]]
    # The last one that may be told for a while is a sum: what comes after it has to wait.
    if len(new) <= min(SINGLY, room):
        return [Batch((held,)) for held in new]
    return [Batch(tuple(new))]


def waits_too_long(seconds: float | None, limit: float, *, told: bool) -> bool:
    """Whether the oldest pending job is (or, once `told`, still is) over the limit; None: no job is pending."""
    return seconds is not None and seconds > (limit * RECOVERED_AT if told else limit)


def to_be_checked(known: Mapping[str, Known], seen: Collection[str]) -> list[Known]:
    """The invalid links that have to be asked about: a look shows new failures only, not what has become of old ones.

    Not at every look, as long as they hold.
    """
    return [
        condition
        for condition in known.values()
        if condition.kind == AlertKind.INVALID_LINK
        and condition.key not in seen
        and condition.seen_seconds_ago > REFRESH
    ]
