"""The business rules of POST /cases: what blocks a case whose fields are valid (the API's 422).

Source: developer-concepts/error-handling and referral-partners/error-reference.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from worker.sandbox.messages import BusinessError

APP = "https://app.sandbox.example"
UNCOVERED_COUNTRIES = frozenset({"AQ", "KP", "SY", "IR", "CU"})
"""Countries (ISO 3166-1 alpha-2) in which the sandbox has no collection partner."""

MESSAGES = {
    "NoPartnerAvailable": "No collection partner is available for the debtor's country.",
    "CreditorBlocked": "The creditor is blocked from creating cases. Contact support.",
    "MissingDebtCollectionContract": "The debt collection agreement has not been signed.",
    "MissingPowerOfAttorney": "A power of attorney must be signed for the debtor's country.",
    "MissingKycVerification": "The creditor's identity has not been verified.",
    "DuplicateReference": "A case with this creditorReference already exists.",
    "IdempotencyConflict": "The Idempotency-Key was used with a different request body.",
}
SIGNED_BY_CREDITOR = {
    "MissingDebtCollectionContract": "contract",
    "MissingPowerOfAttorney": "power-of-attorney",
    "MissingKycVerification": "identity",
}
"""The types that the creditor resolves by signing, and the page for each."""


def error(kind: str, tenant: str, *, solvable: bool = False) -> BusinessError:
    """The business error of a known or unknown type; `solvable` adds a solutionUrl to any type."""
    page = SIGNED_BY_CREDITOR.get(kind, quote(kind, safe="") if solvable else None)
    url = f"{APP}/solve/{page}?client={quote(tenant, safe='')}" if page else None
    return BusinessError(kind, MESSAGES.get(kind, f"The case was refused by the rule {kind}."), url)


def signing_url(tenant: str, case: dict[str, Any]) -> str:
    """The page for signing everything, which then returns to the case's returnUrl if that is valid."""
    url = f"{APP}/sign/all?client={quote(tenant, safe='')}"
    back = case.get("returnUrl")
    if isinstance(back, str) and _is_web_address(back):
        url += f"&returnUrl={quote(back, safe='')}"
    return url


def onboarding_url(tenant: str) -> str:
    """The page where a client finishes onboarding."""
    return f"{APP}/onboarding?client={quote(tenant, safe='')}"


def errors_against(
    *, tenant: str, link: str, country: str, reference_used: bool, allow_pending: bool, asked_for: str | None
) -> list[BusinessError]:
    """All rules that the case violates. `link` is the client link's state; `asked_for` is a type from a sandbox tag."""
    kinds = []
    if link == "blocked":
        kinds.append("CreditorBlocked")
    if link == "unfinished" and not allow_pending:
        kinds.append("MissingDebtCollectionContract")
    if reference_used:
        kinds.append("DuplicateReference")
    if country in UNCOVERED_COUNTRIES:
        kinds.append("NoPartnerAvailable")
    errors = [error(kind, tenant) for kind in kinds]
    return errors if asked_for is None else [error(asked_for, tenant, solvable=True), *errors]


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and text.isprintable()
