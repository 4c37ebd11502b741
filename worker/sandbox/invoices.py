"""The response to an accepted case: InvoiceDto of the published description."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.sandbox.rules import parse_date


@dataclass(frozen=True, slots=True)
class Facts:
    """The contents of a valid body, in either of the two shapes."""

    currency: str
    amount: float
    creditor_reference: str | None
    country: str
    date: str | None
    due_date: str | None
    allow_pending: bool


def facts(case: dict[str, Any]) -> Facts:
    """Read a body that has no field errors."""
    claims: list[dict[str, Any]] = case.get("claims") or []
    first = claims[0] if claims else {}
    amount = case.get("amountToRecover")
    if amount is None:
        amount = round(sum(claim["amount"] for claim in claims), 2)
    return Facts(
        currency=(case.get("currencyCode") or first["currencyCode"]).upper(),
        amount=amount,
        creditor_reference=case.get("creditorReference")
        or first.get("creditorReference")
        or first.get("reference")
        or None,
        country=case["debtor"]["countryAlpha2"].upper(),
        date=case.get("date") or first.get("date"),
        due_date=case.get("dueDate") or first.get("dueDate"),
        allow_pending=case.get("allowPendingContracts") is True,
    )


def invoice(
    case: dict[str, Any],
    read: Facts,
    *,
    case_id: str,
    reference: str,
    creditor_id: str,
    tenant: str,
    created_at: float,
    signing_url: str | None,
) -> dict[str, Any]:
    """The case as the API shows it. `signing_url` is set if contracts still have to be signed.

    Null members are included, as the .NET serializer does, so that clients are tested with nulls.
    """
    created = datetime.fromtimestamp(created_at, UTC).isoformat().replace("+00:00", "Z")
    debtor = case["debtor"]
    assigned = case.get("assignedUserEmail")
    return {
        "id": case_id,
        "dateCreated": created,
        "dateUpdated": None,
        "reference": reference,
        "creditorReference": read.creditor_reference,
        "creditorComments": case.get("comments"),
        "claimDescription": case.get("claimDescription"),
        "grossAmount": read.amount,
        "remainder": read.amount,
        "interestFees": 0,
        "reminderFees": 0,
        "collectionFees": 0,
        "totalAddedFees": 0,
        "currency": read.currency,
        "isTestCase": case.get("isTest") is True,
        "lifecycle": "PendingVerificationInternal" if signing_url is None else "PendingContractSigning",
        "dueDate": _date_time(read.due_date) or created,
        "date": _date_time(read.date) or created,
        "dateFinished": None,
        "dateCollectionStarted": None,
        "closeCode": None,
        "currentEngagementPhase": "Pre-legal",
        "claimType": None,
        "creditorDivisionId": case.get("creditorDivisionId"),
        "debtor": {
            "type": debtor["type"],
            "name": debtor["name"],
            "contactPerson": debtor.get("contactPerson"),
            "companyRegistrationNumber": debtor.get("companyRegistrationNumber"),
            "address": debtor.get("address"),
            "zipCode": debtor.get("zipCode"),
            "city": debtor.get("city"),
            "state": debtor.get("state"),
            "stateAlpha2": debtor.get("stateAlpha2"),
            "countryAlpha2": read.country,
            "country": debtor.get("country"),
            "email": debtor.get("email"),
            "phone": debtor.get("phone"),
        },
        "collectionPartner": None,
        "creditor": {"id": creditor_id, "companyName": tenant, "companyRegistrationNumber": None, "division": None},
        "bankAccount": None,
        "blendedAgeUpliftPoints": None,
        "preLegalSuccessFee": None,
        "solutionUrl": signing_url,
        "signingHandoff": None if signing_url is None else {"combinedSigningUrl": signing_url},
        "exclusivePeriodEndDate": None,
        "disputeStatus": None,
        "validation": {"needsInfo": False},
        "assignedUser": None if assigned is None else {"email": assigned, "name": None},
    }


def _date_time(value: str | None) -> str | None:
    return None if value is None else parse_date(value).isoformat()
