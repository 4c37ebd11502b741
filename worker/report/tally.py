"""Count and describe what an operation does, and with which keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from worker.ledger.states import ItemOutcome, Verb
from worker.policy.replay_plan import ReplayPlan
from worker.report.formatting import counted
from worker.report.operations import Chunk
from worker.report.preview import Preview


@dataclass(slots=True)
class Tally:
    """How many items were processed, or would be."""

    jobs: int = 0
    tenants: int = 0
    messages: int = 0
    plans: Counter[ReplayPlan] = field(default_factory=Counter)
    """Number of jobs per replay plan."""
    seen: int = 0
    """All items, including skipped ones."""
    _names: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, made: Preview) -> Self:
        """The tally of a preview."""
        found = made.selected
        messages = found.messages if made.verb is Verb.DISCARD else 0
        return cls(jobs=found.jobs, tenants=found.tenants, messages=messages, plans=Counter(found.plans))

    def add(self, chunk: Chunk) -> None:
        """Count a processed chunk."""
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
            self.plans[target.plan] += 1

    def describe(self, verb: Verb, done: str) -> str:
        """E.g. `12 jobs of 3 tenants replayed: new key 9, look-up first 2, same key 1`."""
        parts = []
        if self.jobs or not self.messages:
            parts.append(f"{counted(self.jobs, 'job')} of {counted(self.tenants, 'tenant')}")
        if self.messages:
            parts.append(counted(self.messages, "unreadable message"))
        text = f"{' and '.join(parts)} {done}"
        if verb is Verb.REPLAY and self.jobs:
            text += f": {describe_plans(self.plans)}"
        unknown = sum(jobs for plan, jobs in self.plans.items() if plan.case_may_exist)
        if verb is Verb.DISCARD and unknown:
            text += f"; {unknown} of the cases may exist at Debitura, where discarding changes nothing"
        return text


#: Names of the replay plans, in display order.
PLAN_NAMES = {
    ReplayPlan.NEW_KEY: "new key",
    ReplayPlan.LOOK_UP_FIRST: "look-up first",
    ReplayPlan.SAME_KEY: "same key",
    ReplayPlan.ASK_A_PERSON: "needs a person again, who must check Debitura first",
}


def describe_plans(plans: Mapping[ReplayPlan, int]) -> str:
    """Describe the plans of a replay: `new key 9, look-up first 2`."""
    return ", ".join(f"{name} {plans[plan]}" for plan, name in PLAN_NAMES.items() if plans.get(plan))
