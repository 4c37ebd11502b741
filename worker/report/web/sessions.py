"""Sessions as signed cookies, and the tokens that forms carry.

The cookie says who signed in; the role is looked up again for each request, so that taking a user out of REPORT_USERS,
or giving them another password, ends their sessions at once. Every session, also one without a user, has a random
number of its own, and a form's token is a signature over it: another site can make a browser post a form, but cannot
read that number.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256

from itsdangerous import BadSignature, URLSafeTimedSerializer

from worker.report.web.people import User

#: Seconds after signing in: a working day.
LIFETIME = 12 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's visit."""

    number: str
    name: str | None = None
    """Who signed in; None as long as nobody has."""
    mark: str | None = None
    """The mark of the user's password at that time."""
    fresh: bool = False
    """Whether the browser does not have it yet."""

    def is_of(self, user: User) -> bool:
        """Whether that user signed in, with the password that they still have."""
        return self.name == user.name and hmac.compare_digest(self.mark or "", user.mark)


class Sessions:
    """Makes and reads cookies and form tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cookies = URLSafeTimedSerializer(key, salt="session", signer_kwargs={"digest_method": sha256})

    def read(self, cookie: str | None) -> Session:
        """The session of that cookie; a new one for none, a forged one or one that is over."""
        try:
            number, name, mark = self._cookies.loads(cookie or "", max_age=LIFETIME)
        except (BadSignature, ValueError, TypeError):
            return Session(secrets.token_urlsafe(18), fresh=True)
        return Session(number, name, mark)

    def write(self, session: Session) -> str:
        """The cookie's value."""
        return str(self._cookies.dumps([session.number, session.name, session.mark]))

    @staticmethod
    def signed_in(user: User) -> Session:
        """A session for somebody who has just given their password. It shares nothing with the one before."""
        return Session(secrets.token_urlsafe(18), user.name, user.mark, fresh=True)

    def form_token(self, session: Session) -> str:
        """What forms of this session carry."""
        return hmac.new(self._key, b"form\n" + session.number.encode(), sha256).hexdigest()

    def is_form_token(self, session: Session, token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())


def cookie_name(*, secure: bool) -> str:
    """Over https the name binds the cookie to this host and path, so that no neighbouring host can plant one."""
    return "__Host-case-worker" if secure else "case-worker"
