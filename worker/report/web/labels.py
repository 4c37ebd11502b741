"""Labels for reasons, states and error types."""

from __future__ import annotations

from worker.ledger.states import Reason, State

#: A cause's headline.
TITLES: dict[str, str] = {
    Reason.SECOND_UNAUTHORIZED: "Client link invalid: second 401",
    Reason.CLIENT_LINK_NOT_FOUND: "No active client link",
    Reason.VALIDATION: "Case data rejected",
    Reason.BUSINESS_RULE: "Business rule",
    Reason.FORBIDDEN: "Not allowed",
    Reason.NOT_FOUND: "Not found",
    Reason.RETRIES_EXHAUSTED: "API failed at every attempt",
    Reason.OUTCOME_UNKNOWN: "Outcome unknown",
    Reason.MALFORMED_MESSAGE: "Unreadable message",
    Reason.UNEXPECTED_RESPONSE: "Unexpected response",
}

#: A business rule's headline, by the API's error type (referral-partners/error-reference).
RULES: dict[str, str] = {
    "DuplicateReference": "Reference already used",
    "IdempotencyConflict": "Key known with another case",
    "NoPartnerAvailable": "No collection partner for the country",
    "CreditorBlocked": "Client is blocked",
    "MissingDebtCollectionContract": "Debt collection agreement not signed",
    "MissingPowerOfAttorney": "Power of attorney missing",
    "MissingKycVerification": "Client's identity not verified",
}

#: What the reason is about: (colour name in the style sheet, label).
FAMILIES: dict[str, tuple[str, str]] = {
    Reason.SECOND_UNAUTHORIZED: ("link", "Client link"),
    Reason.CLIENT_LINK_NOT_FOUND: ("link", "Client link"),
    Reason.VALIDATION: ("data", "Case data"),
    Reason.BUSINESS_RULE: ("rule", "Rule"),
    Reason.FORBIDDEN: ("rule", "Rights"),
    Reason.NOT_FOUND: ("data", "Reference"),
    Reason.RETRIES_EXHAUSTED: ("trouble", "Technical"),
    Reason.OUTCOME_UNKNOWN: ("unknown", "Unknown"),
    Reason.MALFORMED_MESSAGE: ("trouble", "Sender"),
    Reason.UNEXPECTED_RESPONSE: ("trouble", "Technical"),
}

#: A job's state, for a label.
STATES: dict[str, str] = {
    State.PENDING: "Pending",
    State.WAITING: "Waiting",
    State.QUEUED: "Queued",
    State.SUBMITTING: "Submitting",
    State.HELD: "Held",
    State.SUBMITTED: "Submitted",
    State.DEAD: "Needs a person",
    State.DISCARDED: "Discarded",
}


def title(reason: str, error_type: str | None = None) -> str:
    """A cause's headline."""
    if reason == Reason.BUSINESS_RULE:
        return RULES.get(error_type or "", "Refused by a business rule")
    return TITLES[reason]


def sentence(error: Exception) -> str:
    """An error's message as a sentence, with a capital and a full stop."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
