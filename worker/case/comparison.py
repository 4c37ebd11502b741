"""Is a case that the API has the one that we sent? Pure functions.

A creditorReference may belong to another case: the client typed it into Debitura's own portal, or another system of the
client's sent it. So a found case is ours only if amount, currency and debtor agree with what we sent, and if it was
created after our first request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from worker.case.amounts import money_of

#: The API's clock and the database's may differ by so much.
CLOCK_MARGIN = timedelta(minutes=10)
_CENT = Decimal("0.01")


class Match(StrEnum):
    """Whose case a look-up found."""

    OURS = "ours"
    ANOTHERS = "anothers"
    UNCLEAR = "unclear"


class Fact(StrEnum):
    """How one fact of the two cases compares."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_TOLD = "not told"


@dataclass(frozen=True, slots=True)
class FoundCase:
    """What the API says of a case that it has (schema InvoiceDto of the Customer API)."""

    amount: Decimal | None
    currency: str | None
    debtor: str | None = field(repr=False)
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A found case beside the one that we sent."""

    amount: Fact
    currency: Fact
    debtor: Fact
    created: Fact

    @property
    def match(self) -> Match:
        """One difference makes it another's; only if nothing is left open is it ours."""
        facts = {self.amount, self.currency, self.debtor, self.created}
        if Fact.DIFFERENT in facts:
            return Match.ANOTHERS
        return Match.UNCLEAR if Fact.NOT_TOLD in facts else Match.OURS


def found_case(content: Any) -> FoundCase:
    """The facts of a case in the API's JSON; what is missing or of another type is None."""
    case = content if isinstance(content, Mapping) else {}
    debtor = case.get("debtor")
    name = debtor.get("name") if isinstance(debtor, Mapping) else None
    amount = case.get("grossAmount")
    currency = case.get("currency") or case.get("currencyCode")
    return FoundCase(
        amount=Decimal(str(amount)) if isinstance(amount, (int, float)) and not isinstance(amount, bool) else None,
        currency=currency if isinstance(currency, str) and currency else None,
        debtor=name if isinstance(name, str) and name.strip() else None,
        created=_moment(case.get("dateCreated")),
    )


def compare(sent: Mapping[str, Any], found: FoundCase, first_sent_at: datetime | None) -> Comparison:
    """Compare a found case with the JSON object that we sent.

    `first_sent_at` is when our first request left; None if the ledger does not know, as after a restore from a backup:
    then the time of creation decides nothing.
    """
    amount, currency = money_of(sent)
    debtor = sent.get("debtor")
    name = debtor.get("name") if isinstance(debtor, Mapping) else None
    return Comparison(
        amount=_same(_cents(amount), _cents(found.amount)),
        currency=_same(_folded(currency), _folded(found.currency)),
        debtor=_same(_folded(name), _folded(found.debtor)),
        created=_after(found.created, first_sent_at),
    )


def _same(ours: object, theirs: object) -> Fact:
    if ours is None or theirs is None:
        return Fact.NOT_TOLD
    return Fact.SAME if ours == theirs else Fact.DIFFERENT


def _after(created: datetime | None, first_sent_at: datetime | None) -> Fact:
    if first_sent_at is None:
        return Fact.SAME
    if created is None:
        return Fact.NOT_TOLD
    return Fact.SAME if created >= first_sent_at - CLOCK_MARGIN else Fact.DIFFERENT


def _cents(amount: Decimal | None) -> Decimal | None:
    return None if amount is None or not amount.is_finite() else amount.quantize(_CENT)


def _folded(text: Any) -> str | None:
    """The API may trim and capitalize what it was given."""
    return (" ".join(text.split()).casefold() or None) if isinstance(text, str) else None


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
