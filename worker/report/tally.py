"""Counting what an operation does, and the key rule of a replay, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from worker.ledger.states import ItemOutcome, Verb
from worker.report.formatting import counted
from worker.report.operations import Chunk
from worker.report.preview import Preview


@dataclass(slots=True)
class Tally:
    """How many were acted on, or would be."""

    jobs: int = 0
    tenants: int = 0
    messages: int = 0
    new_key: int = 0
    """Jobs whose outcome is known: a replay takes a new submission key."""
    looked_up: int = 0
    """Outcome unknown, with a creditorReference: the same key, and the case is looked up first."""
    same_key: int = 0
    """Outcome unknown, and nothing to look it up by: the same key."""
    seen: int = 0
    """Everything that was dealt with, skipped or not."""
    _names: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, made: Preview) -> Self:
        """What a preview promises."""
        found = made.selected
        messages = found.messages if made.verb is Verb.DISCARD else 0
        return cls(
            found.jobs, found.tenants, messages, found.outcome_known, found.can_be_looked_up, found.cannot_be_looked_up
        )

    def add(self, chunk: Chunk) -> None:
        """Count a chunk that was dealt with."""
        for target, item in zip(chunk.targets, chunk.items, strict=True):
            self.seen += 1
            if item.outcome is ItemOutcome.SKIPPED:
                continue
            if target.job_id is None:
                self.messages += 1
                continue
            self.jobs += 1
            self._names.add(target.external_tenant_id or "")
            self.tenants = len(self._names)
            if not target.outcome_unknown:
                self.new_key += 1
            elif target.creditor_reference:
                self.looked_up += 1
            else:
                self.same_key += 1

    def in_words(self, verb: Verb, done: str) -> str:
        """E.g. `12 jobs of 3 tenants replayed: new key 9, same key with look-up first 2, same key 1`."""
        parts = []
        if self.jobs or not self.messages:
            parts.append(f"{counted(self.jobs, 'job')} of {counted(self.tenants, 'tenant')}")
        if self.messages:
            parts.append(counted(self.messages, "unreadable message"))
        text = f"{' and '.join(parts)} {done}"
        if verb is Verb.REPLAY and self.jobs:
            text += f": {key_rule(self.new_key, self.looked_up, self.same_key)}"
        if verb is Verb.DISCARD and (unknown := self.looked_up + self.same_key):
            text += f"; {unknown} of the cases may exist at Debitura, where discarding takes nothing back"
        return text


def key_rule(new_key: int, looked_up: int, same_key: int) -> str:
    """What a replay does about submission keys."""
    return f"new key {new_key}, same key with look-up first {looked_up}, same key {same_key}"
