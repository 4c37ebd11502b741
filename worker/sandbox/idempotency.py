"""The Idempotency-Key store (developer-concepts/idempotency).

Terminal answers (2xx and 422) are stored and replayed; field-level 400s, 401, 403, 404, 409, 429 and 5xx are not, so
that the same key may be used again after the cause is gone. Keys belong to one creditor.
"""

from __future__ import annotations

MAX_KEY_LENGTH = 255


class Use:
    """One use of a key. `status` 0 means that the first request is still in flight."""

    __slots__ = ("body", "digest", "status")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.status = 0
        self.body = b""


class IdempotencyKeys:
    """Uses by creditor and key."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str], Use] = {}
        self.in_flight = 0
        """How many first uses have no answer yet."""

    def claim(self, creditor: str, key: str, digest: bytes) -> Use | None:
        """None when the key was free (it is in flight from now on), else its earlier use."""
        use = self._uses.get((creditor, key))
        if use is None:
            self.in_flight += 1
            self._uses[creditor, key] = Use(digest)
        return use

    def settle(self, creditor: str, key: str, status: int, body: bytes) -> None:
        """Store the terminal answer for replays."""
        self.in_flight -= 1
        use = self._uses[creditor, key]
        use.status = status
        use.body = body

    def release(self, creditor: str, key: str) -> None:
        """Free the key: the answer was not terminal."""
        self.in_flight -= 1
        del self._uses[creditor, key]
