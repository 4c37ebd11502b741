"""Cases to be sent: about 600 bytes each, all different, as NDJSON that every contestant reads."""

from __future__ import annotations

import json
from pathlib import Path

#: Clients on whose behalf the cases are: this worker needs a token for each, the bare tasks get by with one.
TENANTS = 8


def make_case(number: int) -> dict[str, object]:
    """One case, valid by the Customer API's rules."""
    return {
        "creditorReference": f"BENCH-{number:08d}",
        "currencyCode": "EUR",
        "amountToRecover": 100 + number % 900 + 0.25,
        "date": "2026-03-02",
        "dueDate": "2026-04-01",
        "claimDescription": "Delivered goods, invoice undisputed, two reminders sent and a payment plan not kept",
        "comment": "Please call before noon; the debtor moved in January and the old address is no longer right.",
        "debtor": {
            "type": "Company",
            "name": f"Ærøskøbing Bådebyggeri {number} ApS",
            "address": "Havnegade 12",
            "zipCode": "5970",
            "city": "Ærøskøbing",
            "countryAlpha2": "DK",
            "email": f"regnskab{number}@aeroebaade.example",
            "phone": "+45 70 10 00 01",
            "companyRegistrationNumber": "10000001",
            "contactPerson": "Søren Østergård",
        },
    }


def write_cases(path: Path, how_many: int) -> None:
    """Write that many lines as `case-worker enqueue` reads them."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(how_many):
            line = {"externalTenantId": f"tenant-{number % TENANTS}", "case": make_case(number)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
