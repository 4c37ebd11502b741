"""Describe why the fleet or one job is waiting."""

from __future__ import annotations

from typing import Any

from worker.case.fields import one_line
from worker.ledger.queries.waiting import COUNTED_AHEAD, FleetWaits, Turn, WindowUse
from worker.ledger.states import State, WaitReason
from worker.ledger.writer.holds import CIRCUITS, HoldName
from worker.policy.circuit_breaker import PROBE_OFTEN_FOR
from worker.policy.rate_limit import WINDOW_NAMES
from worker.report.formatting import counted, moment, span

_PAUSES = {
    HoldName.RATE_LIMIT: "The Customer API's rate limit is reached.",
    HoldName.MINT_RATE_LIMIT: "The rate limit for minting tokens is reached.",
    HoldName.API_KEY: (
        "ALARM: the partner API key is rejected. Set a valid DEBITURA_API_KEY and restart the workers;"
        " until then no job fails."
    ),
    HoldName.CUSTOMER_API: "The Customer API has a fault; until it recovers, no attempts are counted and no job fails.",
    HoldName.REFERRAL_API: "No tokens can be minted; until it recovers, no attempts are counted and no job fails.",
    HoldName.BRAKE: (
        "ALARM: the API rejects all jobs the same way, so the fleet has stopped. Until it recovers, no job fails, and"
        " jobs that died of it are restored. If the verdict is right, accept it: case-worker brake accept."
    ),
}

_PAST_PAUSES = {
    HoldName.RATE_LIMIT: "the Customer API's rate limit was reached",
    HoldName.MINT_RATE_LIMIT: "the rate limit for minting tokens was reached",
    HoldName.API_KEY: "the partner API key was rejected",
    HoldName.CUSTOMER_API: "the Customer API had a fault",
    HoldName.REFERRAL_API: "no tokens could be minted",
    HoldName.BRAKE: "the API rejected all jobs the same way",
}

#: Why one job waits, as a sentence without a full stop.
WAIT_REASONS = {
    WaitReason.BACKOFF: "Its last attempt failed",
    WaitReason.RATE_LIMIT: "An API's rate limit was reached",
    WaitReason.CONFLICT: "An earlier request with its key is still in progress at the API",
    WaitReason.API_FAULT: "The API had a fault unrelated to this job",
    WaitReason.NO_TOKEN: "No token could be minted",
    WaitReason.LOOK_UP_FAILED: "Its case must be looked up first, and the look-up failed",
    WaitReason.KEY_MISSING: "Its case cannot be decrypted here: the key is missing from CASE_ENCRYPTION_KEYS",
    WaitReason.CASE_ALTERED: "Its case cannot be decrypted: the stored text was altered; restore it from a backup",
    WaitReason.WORKER_LOST: "Its worker did not report back",
    WaitReason.INTERNAL_ERROR: "A bug in the worker ended its attempt",
    WaitReason.STOPPED: "Its worker stopped before the response arrived",
}

#: Circuits whose words say already how they end.
_WITHOUT_RARE_PROBES = (HoldName.API_KEY, HoldName.BRAKE)

_RARE_PROBES = (
    "Nothing has succeeded for so long that probes are now rarer (the next one from {next}). The API may work and only"
    " these jobs may fail: that shows when another job succeeds, and from then on their attempts count."
)


def describe_fleet(waits: FleetWaits) -> list[str]:
    """The reasons why the fleet does not release more jobs now, most important first."""
    reasons = _blockers(waits)
    ready = waits.backlog - waits.backing_off
    if ready and not reasons:
        reasons.append(f"Not paused: {counted(ready, 'job')} to be sent in turn, as fast as the rate limits allow.")
    if waits.next_due is not None:
        due = moment(waits.next_due)
        reasons.append(f"Backoff: {counted(waits.backing_off, 'job')} not due yet, the first until {due}.")
    return reasons


def _blockers(waits: FleetWaits) -> list[str]:
    """The reasons that stop all releases."""
    reasons = [_describe_hold(hold) for hold in waits.holds]
    reasons += [_describe_full_window(window) for window in waits.windows if window.frees_in is not None]
    if waits.unpublished_since is not None:
        reasons.append(f"The broker accepts no messages since {moment(waits.unpublished_since)}: is it running?")
    if waits.leader is None:
        why = " (one that cannot publish gives up its lead)" if waits.unpublished_since else ""
        reasons.append(f"No dispatcher is leading{why}: is a worker running?")
    return reasons


def describe_job(job: dict[str, Any], turn: Turn | None, waits: FleetWaits, *, tenant_cap: int) -> list[str]:
    """Why this job waits; empty if it is done or needs a person."""
    match State(job["state"]):
        case State.WAITING:
            until = moment(job["due_at"])
            # Rows written by older workers have no reason.
            why = f"{WAIT_REASONS[WaitReason(job['wait_reason'])]}. Backoff" if job.get("wait_reason") else "Backoff"
            return [f"{why} until {until}.", *_blockers(waits)]
        case State.PENDING if turn is not None:
            before = f"More than {COUNTED_AHEAD:,}" if turn.ahead >= COUNTED_AHEAD else f"{turn.ahead:,}"
            reasons = [f"{before} jobs are ahead of it."]
            if turn.tenant_under_way >= tenant_cap:
                reasons.append(
                    f"Its tenant has {turn.tenant_under_way} jobs in progress, the most that one tenant may have."
                )
            return reasons + describe_fleet(waits)
        case State.QUEUED:
            return [f"On the Celery queue since {moment(job['queued_at'])}; if not taken, it is published again."]
        case State.HELD:
            return [
                "Its client's link is invalid, as another job of the tenant showed. It continues when that job is"
                " replayed and submitted, when a check or a webhook finds the link valid, or when a probe succeeds."
            ]
        case _:
            return []


def describe_estimate(waits: FleetWaits) -> str:
    """Estimate when the backlog is done, at the allowed rate."""
    if not waits.backlog:
        return "nothing is waiting"
    text = f"{waits.backlog:,} jobs, about {span(waits.estimate)} at the allowed rate"
    return f"{text}, after the pause" if waits.holds else text


def windows_as_data(waits: FleetWaits) -> list[dict[str, Any]]:
    """The use of each rate limit, for programs; `seconds` is the window's length."""
    return [
        {"seconds": w.window.seconds, "limit": w.window.amount, "used": w.used, "frees_in_seconds": w.frees_in}
        for w in waits.windows
    ]


def describe_window(window: WindowUse) -> str:
    """E.g. `1,960 of 2,000 in a minute`."""
    name = WINDOW_NAMES.get(window.window.seconds, f"{window.window.seconds} s")
    article = "an" if name.startswith("h") else "a"
    return f"{window.used:,} of {window.window.amount:,} in {article} {name}"


def _describe_full_window(window: WindowUse) -> str:
    frees = "soon" if not window.frees_in else f"in {span(window.frees_in)}"
    return f"The rate limit is used up ({describe_window(window)}); capacity returns {frees}."


def describe_pause(hold: dict[str, Any]) -> str:
    """Describe a past pause, how long and why, as the end of a sentence."""
    name = hold["name"]
    lasted = span((hold["ended_at"] - hold["since"]).total_seconds())
    why = _PAST_PAUSES[HoldName(name)] if name in set(HoldName) else f"pause {one_line(name)}"
    return f"for {lasted}, until {moment(hold['ended_at'])}: {why}"


def _describe_hold(hold: dict[str, Any]) -> str:
    known = hold["name"] in set(HoldName)
    text = _PAUSES[HoldName(hold["name"])] if known else f"Pause {hold['name']}."
    verdict = f"{hold['reason']}: " if hold.get("reason") else ""
    text += f" Since {moment(hold['since'])}: {verdict}{one_line(hold['detail'])}."
    if known and HoldName(hold["name"]) in CIRCUITS:
        probes = hold["probes"]
        text += f" One job at a time probes whether it is over ({probes} so far)."
        rare = hold["seconds"] > PROBE_OFTEN_FOR and HoldName(hold["name"]) not in _WITHOUT_RARE_PROBES
        return f"{text} {_RARE_PROBES.format(next=moment(hold['until']))}" if rare else text
    return f"{text} Nothing is released until {moment(hold['until'])}."
