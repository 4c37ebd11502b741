"""Verify the audit log's hash chain: find entries that were altered, removed or inserted, and a truncated end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from sqlalchemy import Connection

from worker.ledger.queries.audit import Head, Link, head, links, unchained

#: Entries to read at a time, and the most problems to list.
PAGE, MOST = 1000, 50
START = bytes(32)


@dataclass(slots=True)
class ChainCheck:
    """Verification from the first entry onwards. Pure: call `step` with the links in order."""

    position: int = 0
    hash: bytes = START
    problems: list[str] = field(default_factory=list)
    expected: bytes | None = None
    """A hash saved elsewhere that must occur in the chain."""
    met_at: int | None = None
    """The position where it occurred."""

    def __post_init__(self) -> None:
        if self.expected == START:
            self.met_at = 0

    def step(self, link: Link) -> None:
        """Check the next link. After a wrong one, continue from its stored hash, to find further problems."""
        if link.position != self.position + 1:
            first, last = self.position + 1, link.position - 1
            missing = f"place {first} is" if first == last else f"places {first} to {last} are"
            self.problems.append(f"{missing} missing from the chain")
        elif link.text is None:
            self.problems.append(f"entry {link.entry_id} (place {link.position}) was taken out")
        elif sha256(self.hash + link.text.encode()).digest() != link.hash:
            self.problems.append(f"entry {link.entry_id} (place {link.position}) was altered, or its hash was")
        self.position, self.hash = link.position, link.hash
        if link.hash == self.expected:
            self.met_at = link.position

    def end(self, kept: Head, slipped_in: list[int]) -> None:
        """Finish after the last link: compare the chain with the stored head and the unchained entries."""
        self.problems += [f"entry {number} is not in the chain: it was slipped in" for number in slipped_in]
        if (kept.entries, kept.hash) != (self.position, self.hash):
            self.problems.append(f"the chain ends at place {self.position}, and should end at place {kept.entries}")
        if self.expected is not None and self.met_at is None:
            self.problems.append(
                "the head that you expect is nowhere in the chain: its end was cut off, or it was rebuilt"
            )


def verify(connection: Connection, *, expected: bytes | None, tell: Callable[[int, int], object]) -> ChainCheck:
    """Verify the whole chain in one snapshot. Calls `tell` with the position reached and the total."""
    kept = head(connection)
    walk = ChainCheck(expected=expected)
    for link in _all(connection):
        walk.step(link)
        if walk.position % PAGE == 0:
            tell(walk.position, kept.entries)
        if len(walk.problems) >= MOST:
            return walk
    walk.end(kept, unchained(connection, limit=MOST))
    return walk


def _all(connection: Connection) -> Iterator[Link]:
    after = 0
    while page := links(connection, after=after, page=PAGE):
        yield from page
        after = page[-1].position
