"""Sessions as signed cookies, and CSRF tokens for forms.

The cookie names the user; the role is looked up for each request, so removing a user from REPORT_USERS or changing the
password ends their sessions at once. Every session, even without a user, has a random id, and a form's token is a
signature over it: another site can make a browser post a form, but cannot read the id.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256

from itsdangerous import BadSignature, URLSafeTimedSerializer

from worker.report.web.people import User

#: Seconds that a session lasts after signing in: a working day.
LIFETIME = 12 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's session."""

    id: str
    name: str | None = None
    """The user who signed in, or None."""
    password_fingerprint: str | None = None
    """`User.password_fingerprint` at sign-in."""
    new: bool = False
    """Whether the browser does not have its cookie yet."""

    def belongs_to(self, user: User) -> bool:
        """Whether this user signed in, with their current password."""
        return self.name == user.name and hmac.compare_digest(
            self.password_fingerprint or "", user.password_fingerprint
        )


class Sessions:
    """Create and read session cookies and form tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cookies = URLSafeTimedSerializer(key, salt="session", signer_kwargs={"digest_method": sha256})

    def read(self, cookie: str | None) -> Session:
        """The cookie's session; a new one if the cookie is missing, forged or expired."""
        try:
            session_id, name, fingerprint = self._cookies.loads(cookie or "", max_age=LIFETIME)
        except (BadSignature, ValueError, TypeError):
            return Session(secrets.token_urlsafe(18), new=True)
        return Session(session_id, name, fingerprint)

    def write(self, session: Session) -> str:
        """The cookie's value."""
        return str(self._cookies.dumps([session.id, session.name, session.password_fingerprint]))

    @staticmethod
    def signed_in(user: User) -> Session:
        """A new session for a user who just gave their password. It shares nothing with the previous one."""
        return Session(secrets.token_urlsafe(18), user.name, user.password_fingerprint, new=True)

    def form_token(self, session: Session) -> str:
        """The CSRF token for forms of this session."""
        return hmac.new(self._key, b"form\n" + session.id.encode(), sha256).hexdigest()

    def is_form_token(self, session: Session, token: str) -> bool:
        """Whether the form came from a page of this session."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())


def cookie_name(*, secure: bool) -> str:
    """The `__Host-` prefix binds the cookie to this host, so that no sibling domain can set it. It needs https."""
    return "__Host-case-worker" if secure else "case-worker"
