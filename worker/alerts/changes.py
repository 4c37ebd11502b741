"""What has changed since the last check, and which alerts to send. Pure: sets in, decisions out.

Conditions that hold now are compared with those already alerted on. So a crash loses nothing, and a condition that
must wait (too many alerts were sent recently) is still new at the next check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.ledger.alert_models import AlertKind
from worker.ledger.queries.alerts import Known

#: At most MOST alerts of one kind are sent within WINDOW seconds; further ones wait and are combined into one.
WINDOW, MOST = 600.0, 5
#: Up to this many new conditions in one check get an alert each; more are combined into one.
SINGLY = 3
#: How many conditions a combined alert names.
NAMED = 10
#: A condition whose end sends no alert must be gone for this many seconds before its return sends a new one. A replayed
#: job that dies again soon does not count as new.
QUIET = 3600.0
#: How often, in seconds, a condition that still holds is recorded as still holding.
REFRESH = 60.0
#: The oldest pending job counts as recovered below this share of the limit. At the limit itself, alerts would flap.
RECOVERED_AT = 0.8

#: Kinds that can occur in large numbers at once. The others occur once or twice.
SUMMED_UP = (AlertKind.NEW_FAILURE_GROUP, AlertKind.INVALID_LINK)

#: Kinds whose end also sends an alert, and the kind of that alert.
ENDINGS = {
    AlertKind.PARTNER_KEY_REFUSED: AlertKind.PARTNER_KEY_ACCEPTED,
    AlertKind.CIRCUIT_OPENED: AlertKind.CIRCUIT_CLOSED,
    AlertKind.OLDEST_PENDING_OVER: AlertKind.OLDEST_PENDING_RECOVERED,
}


@dataclass(frozen=True, slots=True)
class Holding:
    """A condition that holds now."""

    key: str
    kind: AlertKind
    episode: str
    """Separates this occurrence from an earlier one of the same key: the first failure's id, or the start time."""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """The conditions in one alert: at least one, all of one kind."""

    members: tuple[Holding, ...]

    @property
    def kind(self) -> AlertKind:
        """The kind they share."""
        return self.members[0].kind

    @property
    def dedup_key(self) -> str:
        """Identifies the event: the same members in the same episodes give the same key."""
        names = "\n".join(sorted(f"{member.key}#{member.episode}" for member in self.members))
        return f"{self.kind}:{hashlib.sha256(names.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Changes:
    """The result of one check."""

    begun: tuple[Batch, ...]
    ended: tuple[Known, ...]
    """Conditions whose end sends an alert."""
    forgotten: tuple[str, ...]
    """Keys that are gone and send no alert."""
    refreshed: tuple[str, ...]
    """Keys that still hold and whose row needs a fresh timestamp."""


def changes(known: Mapping[str, Known], holding: Sequence[Holding], told: Mapping[str, int]) -> Changes:
    """Compare current conditions with known ones. `told`: recent alerts by kind, within WINDOW seconds."""
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
    """Group new conditions of one kind: an alert each, one combined, or none yet. `told`: alerts sent recently."""
    room = MOST - told
    if not new or room <= 0:
        return []
    if new[0].kind not in SUMMED_UP:
        return [Batch((held,)) for held in new[:room]]
    # The last alert allowed for a while is a combined one: whatever comes after it has to wait.
    if len(new) <= min(SINGLY, room):
        return [Batch((held,)) for held in new]
    return [Batch(tuple(new))]


def waits_too_long(seconds: float | None, limit: float, *, told: bool) -> bool:
    """Whether the oldest pending job is over the limit (or, once `told`, still is). None: no job is pending."""
    return seconds is not None and seconds > (limit * RECOVERED_AT if told else limit)


def to_be_checked(known: Mapping[str, Known], seen: Collection[str]) -> list[Known]:
    """The invalid links to check again: a check finds new failures only, not whether old ones still exist.

    While a link stays invalid, it is not checked every time.
    """
    return [
        condition
        for condition in known.values()
        if condition.kind == AlertKind.INVALID_LINK
        and condition.key not in seen
        and condition.seen_seconds_ago > REFRESH
    ]
