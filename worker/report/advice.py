"""What each dead-letter reason means and what to do about it, in one sentence each."""

from __future__ import annotations

from worker.ledger.states import Reason

ADVICE: dict[Reason, str] = {
    Reason.SECOND_UNAUTHORIZED: (
        "The API rejected a fresh token too, so the client link is invalid: have the client linked again, then replay."
    ),
    Reason.CLIENT_LINK_NOT_FOUND: (
        "There is no active client link for this tenant: link the client (or correct the tenant id at the sender), "
        "then replay."
    ),
    Reason.VALIDATION: (
        "The API rejected the case's data: correct it on the job's page, which replays it, or at the sender."
    ),
    Reason.BUSINESS_RULE: (
        "A business rule of Debitura rejects the case: follow the link if there is one (a signature, an identity "
        "check), or ask Debitura, then replay."
    ),
    Reason.FORBIDDEN: (
        "The client lacks a permission: ask Debitura which one, and replay once it is granted, or discard."
    ),
    Reason.NOT_FOUND: (
        "The API does not know something in the case (a division, a partner), or the address is wrong: "
        "check DEBITURA_CUSTOMER_API_URL and the case, then replay or discard."
    ),
    Reason.RETRIES_EXHAUSTED: ("The API was unreachable or failed at every attempt: replay when it works again."),
    Reason.OUTCOME_UNKNOWN: (
        "A request may have arrived without a response, so the case may exist: look for it at Debitura; if it is "
        "there, discard; if not, replay (the key stays the same, so no second case is created)."
    ),
    Reason.MALFORMED_MESSAGE: (
        "A message on the queue could not be read and did not become a job: fix the sender, send the case again, "
        "then discard the message."
    ),
    Reason.UNEXPECTED_RESPONSE: ("The API gave an undocumented response: read the message, ask Debitura, then replay."),
}

#: Specific advice for business rules, by the API's error type (referral-partners/error-reference).
BY_TYPE: dict[str, str] = {
    "DuplicateReference": (
        "The client already has a case with this creditorReference: if it is the same claim, discard; if it is "
        "another, give it its own reference, enqueue it again and discard this job."
    ),
    "IdempotencyConflict": (
        "The API has the submission key with another case, which should not happen: replay, which uses a new key."
    ),
    "NoPartnerAvailable": (
        "No collection partner covers the debtor's country: ask Debitura and replay once one does, or discard."
    ),
    "CreditorBlocked": "Debitura has blocked this client: settle it with Debitura, then replay, or discard.",
    "MissingDebtCollectionContract": (
        "The client has not signed the debt collection agreement: have it signed through the link, then replay."
    ),
    "MissingPowerOfAttorney": (
        "A power of attorney is missing for the debtor's country: have it signed at the link, then replay."
    ),
    "MissingKycVerification": (
        "The client's identity is not verified yet: have the client do it at the link, then replay."
    ),
}

#: Additional advice on the page of a single job.
_DETAILS: dict[Reason, str] = {
    Reason.VALIDATION: (
        "(In a terminal: case-worker edit JOB_ID. Corrected at the sender, it is enqueued under a new idempotency key, "
        "and this job is discarded.)"
    ),
}


def what_to_do(reason: str, error_type: str | None = None) -> str:
    """The sentence for a dead letter. Raises ValueError for an unknown reason."""
    known = ADVICE[Reason(reason)]
    return BY_TYPE.get(error_type or "", known) if reason == Reason.BUSINESS_RULE else known


def full_advice(reason: str, error_type: str | None = None) -> str:
    """`what_to_do` with additional details. Raises ValueError for an unknown reason."""
    return f"{what_to_do(reason, error_type)} {_DETAILS.get(Reason(reason), '')}".strip()
