"""What each dead-letter reason means and what a person does about it: one sentence each."""

from __future__ import annotations

from worker.ledger.states import Reason

ADVICE: dict[Reason, str] = {
    Reason.SECOND_UNAUTHORIZED: (
        "The API refused a fresh token too, so the client link is invalid: have the client linked again, then replay."
    ),
    Reason.CLIENT_LINK_NOT_FOUND: (
        "There is no active client link for this tenant: link the client (or correct the tenant id at the sender), "
        "then replay."
    ),
    Reason.VALIDATION: (
        "The API refused the data of the case: correct it on the job's page, which replays it, or at the sender."
    ),
    Reason.BUSINESS_RULE: (
        "A rule of Debitura stands against the case: follow the link where there is one (a signature, an identity "
        "check), or ask Debitura, then replay."
    ),
    Reason.FORBIDDEN: (
        "The client may not do this: ask Debitura which right is missing and replay once it is granted, or discard."
    ),
    Reason.NOT_FOUND: (
        "The API does not know something that the case names (a division, a partner) or the address is wrong: "
        "check DEBITURA_CUSTOMER_API_URL and the case, then replay or discard."
    ),
    Reason.RETRIES_EXHAUSTED: ("The API could not be reached or failed at every attempt: replay when it works again."),
    Reason.OUTCOME_UNKNOWN: (
        "A request may have arrived without an answer, so the case may exist: look for it at Debitura; if it is "
        "there, discard; if not, replay (the key stays the same, so no second case is made)."
    ),
    Reason.MALFORMED_MESSAGE: (
        "A message on the queue could not be read and became no job: correct the sender, send the case again, then "
        "discard the message."
    ),
    Reason.UNEXPECTED_RESPONSE: (
        "The API gave an answer that its documentation does not know: look at the message, ask Debitura, then replay."
    ),
}

#: Business rules that more can be said of, by the API's error type (referral-partners/error-reference).
BY_TYPE: dict[str, str] = {
    "DuplicateReference": (
        "The client has a case with this creditorReference already: if it is the same claim, discard; if it is "
        "another, give it a reference of its own, enqueue it again and discard this job."
    ),
    "IdempotencyConflict": (
        "The API knows the submission key with another case, which is not supposed to happen: replay, which takes a "
        "new key."
    ),
    "NoPartnerAvailable": (
        "No collection partner covers the debtor's country: ask Debitura and replay once one does, or discard."
    ),
    "CreditorBlocked": "Debitura has blocked this client: settle it with Debitura, then replay, or discard.",
    "MissingDebtCollectionContract": (
        "The client has not signed the debt collection agreement: have it signed at the link, then replay."
    ),
    "MissingPowerOfAttorney": (
        "A power of attorney is missing for the debtor's country: have it signed at the link, then replay."
    ),
    "MissingKycVerification": (
        "The client's identity is not verified yet: have the client do it at the link, then replay."
    ),
}

#: What somebody who has one such job before them may want to know besides.
_BESIDES: dict[Reason, str] = {
    Reason.VALIDATION: (
        "(In a terminal: case-worker edit JOB_ID. Corrected at the sender, it is enqueued under a new idempotency key, "
        "and this job is discarded.)"
    ),
}


def what_to_do(reason: str, error_type: str | None = None) -> str:
    """The sentence for a dead letter. Raises ValueError for a word that is no reason."""
    known = ADVICE[Reason(reason)]
    return BY_TYPE.get(error_type or "", known) if reason == Reason.BUSINESS_RULE else known


def all_there_is_to_do(reason: str, error_type: str | None = None) -> str:
    """The same, and what else there is to know. Raises ValueError for a word that is no reason."""
    return f"{what_to_do(reason, error_type)} {_BESIDES.get(Reason(reason), '')}".strip()
