"""Amounts of money as people type them."""

from __future__ import annotations

import re
from decimal import Decimal

# A comma may group thousands and nothing else: to take it out of `1250,50`, as much of Europe writes 1250.50, would
# make a hundredfold claim of it.
_AMOUNT = re.compile(r"-?([0-9]+|[0-9]{1,3}(,[0-9]{3})+|[0-9]{1,3}( [0-9]{3})+)(\.[0-9]+)?")
#: Characters of an amount; what is longer is none.
_LONGEST = 100


def parse_amount(text: str) -> Decimal:
    """`1250`, `1250.50`, `1,250.50` or `1 250.50`, to the digit. Raises ValueError for anything else."""
    typed = text.strip()
    if len(typed) > _LONGEST or not _AMOUNT.fullmatch(typed):
        comma = " (with a point, not a comma, before the decimals)" if "," in typed else ""
        raise ValueError(f"should be a number such as 1250.50{comma}")
    return Decimal(typed.replace(",", "").replace(" ", ""))
