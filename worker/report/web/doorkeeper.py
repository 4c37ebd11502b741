"""Who asks, and in which role: by the session of this page, by a proxy's word, or because only this machine can ask."""

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
    """Somebody is known, or ought to be, and may not come in."""

    why: str


@dataclass(frozen=True, slots=True)
class TryLater:
    """Too many tries."""

    seconds: float


class Doorkeeper:
    """Lets people in."""

    def __init__(self, settings: WebSettings, throttle: Throttle, *, local_name: str) -> None:
        """`local_name` is whom the audit log names where nobody has to sign in."""
        self._settings = settings
        self._throttle = throttle
        self._local = Person(local_name, Role.OPERATOR)

    def admit(self, peer: Peer, session: Session) -> Person | Refused | None:
        """Who it is; None for somebody who has to sign in first."""
        settings = self._settings
        if settings.anybody:
            return self._local
        if peer.believed and peer.named:
            role = settings.proxy_roles.get(peer.named) or settings.proxy_roles.get("*")
            return Person(peer.named, role) if role else Refused(f"{peer.named} is not among those who may use this.")
        user = settings.users.get(session.name or "")
        if user and session.is_of(user):
            return Person(user.name, user.role, can_sign_out=True)
        if settings.users:
            return None
        return Refused("The proxy in front of this page says who you are, and it has named nobody.")

    def sign_in(self, peer: Peer, name: str, password: str) -> User | TryLater | None:
        """The user, if the password is theirs; None if not. Tries are counted first, so that many at once count too."""
        if left := self._throttle.wait(peer.address, name):
            return TryLater(left)
        user = self._settings.users.get(name)
        if not passwords.matches(password, user.password_hash if user else passwords.NOBODY) or user is None:
            return None
        self._throttle.forgive(peer.address, name)
        return user
