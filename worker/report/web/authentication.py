"""Find a request's user and role: from the session, a trusted proxy's header, or the local user without sign-in."""

from __future__ import annotations

from dataclasses import dataclass

from worker.report.web import passwords
from worker.report.web.configuration import WebSettings
from worker.report.web.peers import Peer
from worker.report.web.people import Person, Role, User
from worker.report.web.sessions import Session
from worker.report.web.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Refused:
    """The user has no role here, or the proxy named no user."""

    why: str


@dataclass(frozen=True, slots=True)
class TooManyAttempts:
    """Too many sign-in attempts; the next is allowed after `seconds`."""

    seconds: float


class Authenticator:
    """Authenticates requests and checks passwords."""

    def __init__(self, settings: WebSettings, throttle: Throttle, *, local_name: str) -> None:
        """`local_name` is the user name in the audit log when no sign-in is configured."""
        self._settings = settings
        self._throttle = throttle
        self._local = Person(local_name, Role.OPERATOR)

    def authenticate(self, peer: Peer, session: Session) -> Person | Refused | None:
        """Return the user, or None if they must sign in first."""
        settings = self._settings
        if settings.local_only:
            return self._local
        if peer.trusted and peer.user:
            role = settings.proxy_roles.get(peer.user) or settings.proxy_roles.get("*")
            return Person(peer.user, role) if role else Refused(f"{peer.user} has no role for this page.")
        user = settings.users.get(session.name or "")
        if user and session.belongs_to(user):
            return Person(user.name, user.role, can_sign_out=True)
        if settings.users:
            return None
        return Refused("The proxy in front of this page must name the user, and it named none.")

    def sign_in(self, peer: Peer, name: str, password: str) -> User | TooManyAttempts | None:
        """Return the user if the password is right, else None. Count first, so that parallel attempts count too."""
        if left := self._throttle.count_attempt(peer.address, name):
            return TooManyAttempts(left)
        user = self._settings.users.get(name)
        if not passwords.matches(password, user.password_hash if user else passwords.DUMMY_HASH) or user is None:
            return None
        self._throttle.reset(peer.address, name)
        return user
