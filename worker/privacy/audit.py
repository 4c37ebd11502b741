"""Walking the audit log's chain: which entry was altered, taken out or slipped in, and whether its end was cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from sqlalchemy import Connection

from worker.ledger.queries.audit import Head, Link, head, links, unchained

#: Entries read at a time, and problems listed at most.
PAGE, MOST = 1000, 50
START = bytes(32)


@dataclass(slots=True)
class ChainCheck:
    """A walk from the first entry on. Pure: it is given the places in order."""

    position: int = 0
    hash: bytes = START
    problems: list[str] = field(default_factory=list)
    expected: bytes | None = None
    """A hash that was kept elsewhere, and should be met."""
    met_at: int | None = None
    """Where it was."""

    def __post_init__(self) -> None:
        if self.expected == START:
            self.met_at = 0

    def step(self, link: Link) -> None:
        """The next place. After a wrong one the walk goes on from the hash that stands there, to find the rest."""
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
        """After the last place: what stands beside the chain has to agree with it."""
        self.problems += [f"entry {number} is not in the chain: it was slipped in" for number in slipped_in]
        if (kept.entries, kept.hash) != (self.position, self.hash):
            self.problems.append(f"the chain ends at place {self.position}, and should end at place {kept.entries}")
        if self.expected is not None and self.met_at is None:
            self.problems.append(
                "the head that you expect is nowhere in the chain: its end was cut off, or it was made again"
            )


def verify(connection: Connection, *, expected: bytes | None, tell: Callable[[int, int], object]) -> ChainCheck:
    """Walk the whole chain, as of one moment. `tell` is given how far it has come, of how many."""
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
