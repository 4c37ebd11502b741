"""A case's amount and currency. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import MIN_EMIN, Context, Decimal
from typing import Any

#: Larger amounts are not extracted for the report; the case itself is unchanged.
MAX_AMOUNT = Decimal(10) ** 15
#: The precision of the ledger's amount column.
AMOUNT_PRECISION = Decimal("0.0001")
_WIDE = Context(prec=40, Emin=MIN_EMIN)


def money_of(case: Mapping[str, Any]) -> tuple[Decimal | None, str | None]:
    """The case's amount and currency: its own, or summed over its `claims`. None if unknown."""
    claims = case.get("claims")
    parts = [c for c in claims if isinstance(c, dict)] if isinstance(claims, list) else []
    amounts = [_amount(case.get("amountToRecover"))]
    currencies = {_currency(case.get("currencyCode"))}
    if amounts == [None] and parts:
        amounts = [_amount(c.get("amountToRecover", c.get("amount"))) for c in parts]
    if currencies == {None}:
        currencies = {_currency(c.get("currencyCode", c.get("currency"))) for c in parts}
    known = [amount for amount in amounts if amount is not None]
    amount = sum(known, Decimal(0)) if known and len(known) == len(amounts) else None
    if amount is not None and abs(amount) >= MAX_AMOUNT:
        amount = None
    return amount, currencies.pop() if len(currencies) == 1 else None


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    # In the ledger's precision: PostgreSQL does not accept all exponents of JSON.
    return amount.quantize(AMOUNT_PRECISION, context=_WIDE) if -MAX_AMOUNT < amount < MAX_AMOUNT else None


def _currency(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) == 3 and value.isascii() else None
