"""Did Debitura send this, just now? (developer-concepts/webhooks) Pure, with the clock given."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from worker.environment import setting_text
from worker.errors import SettingsError

WEBHOOK_SECRET = "DEBITURA_WEBHOOK_SECRET"  # noqa: S105 - the variable's name, not a secret
#: Seconds that the moment of signing may be away from our clock, either way. (Not the event's own time: one that is
#: delivered again is signed again.)
MOST_APART = 300
#: Bytes of a secret at least.
SHORTEST = 16
#: Signatures in one header that are looked at.
MOST_MARKS = 5
_PART = re.compile(r"(t|v1)=([0-9a-f]{1,64})")


def webhook_secrets(environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The secrets of DEBITURA_WEBHOOK_SECRET, base64-decoded; several, separated by white space, while one is replaced
    by the next. Empty: no webhooks are taken. Raises SettingsError.
    """
    found = []
    for text in setting_text(environ, WEBHOOK_SECRET).split():
        try:
            secret = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) < SHORTEST:
            raise SettingsError(
                f"{WEBHOOK_SECRET} should be the base64 text that Debitura gave for the webhook (several separated by"
                " white space)"
            )
        found.append(secret)
    return tuple(found)


def is_genuine(header: str, body: bytes, secrets: Sequence[bytes], *, now: float) -> bool:
    """Whether the signature header fits the raw body under one of the secrets, and is young enough.

    The other headers (event, timestamp) are not signed, so they say nothing. Every secret is tried, and every
    comparison takes the same time.
    """
    parts = [_PART.fullmatch(part.strip()) for part in header.split(",")[: MOST_MARKS + 1]]
    moments = [part[2] for part in parts if part and part[1] == "t"]
    marks = [part[2].encode() for part in parts if part and part[1] == "v1"]
    if len(moments) != 1 or not moments[0].isdecimal() or len(moments[0]) > 12 or not marks:
        return False
    genuine = False
    for secret in secrets:
        expected = hmac.new(secret, f"{moments[0]}.".encode() + body, hashlib.sha256).hexdigest().encode()
        for mark in marks:
            genuine |= hmac.compare_digest(expected, mark)
    return genuine and abs(now - int(moments[0])) <= MOST_APART
