"""What a fault on the API's side costs: `python -m tests.bench.broken_api`, about six minutes.

Each fault strikes a fresh, real stack with 2,000 waiting jobs of 300 tenants and two workers. After ten seconds the
API is repaired; then everything must go on by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from local_stack import LocalStack
from processes import Failed, Stopped, StopSignals

from tests.bench.pace import asked, call, fill

#: The rate limits are not what is measured.
SETTINGS = {"WORKER_RATE_LIMITS": "1000000/second"}
JOBS, TENANTS, LASTS = 2000, 300, 10
JSON = "application/json"
#: One answer to every POST /cases.
FAULTS: dict[str, dict[str, Any]] = {
    "token check refuses everybody": {"kind": "status", "status": 401, "body": '{"error": "x"}', "contentType": JSON},
    "firewall": {"kind": "html", "status": 403},
    "lost route": {"kind": "html", "status": 404},
    "redirect to a login page": {"kind": "status", "status": 302, "body": ""},
    "bad release": {"kind": "status", "status": 400, "body": '{"debtor.phone": ["Not allowed"]}', "contentType": JSON},
}


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.broken_api", description=__doc__)
    parser.add_argument("--only", choices=[*FAULTS, "one invalid link"], help="one fault only")
    wanted = parser.parse_args()
    with StopSignals() as signals:
        try:
            for name, rule in FAULTS.items():
                if wanted.only in (None, name):
                    _tell(name, strike(signals, rule))
            if wanted.only in (None, "one invalid link"):
                _tell("one invalid link", one_invalid_link(signals))
        except Failed as failure:
            sys.stderr.write(f"the benchmark failed: {failure}\n{failure.tail}\n")
            return 1
        except Stopped as stopped:
            sys.stderr.write(f"stopped ({stopped}); nothing is left running\n")
            return 130
    return 0


def strike(signals: StopSignals, rule: dict[str, Any]) -> dict[str, Any]:
    """The fault from the first request on, for LASTS seconds; then how long it takes until all is submitted."""
    with LocalStack(signals, settings=SETTINGS) as stack:
        stack.migrate()
        call(stack, "faults", {"rules": [{"endpoint": "cases", **rule}]})
        fill(stack, jobs=JOBS, tenants=TENANTS)
        for _ in range(2):
            stack.start_worker()
        _until_posts(signals, stack)
        signals.rest(LASTS)
        during = _counts(stack) | {"jobs_that_met_it": asked(stack, "SELECT count(DISTINCT job_id) FROM attempts")}
        call(stack, "faults", {"rules": []})
        repaired = time.monotonic()
        while asked(stack, "SELECT count(*) FROM jobs WHERE state <> 'submitted'"):
            signals.check()
            if time.monotonic() > repaired + 120:
                break
            signals.rest(0.1)
        took = round(time.monotonic() - repaired, 1)
        left = asked(stack, "SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL")
        twice = asked(stack, "SELECT count(*) FROM jobs") - call(stack, "stats")["cases"]
        return during | {"seconds_to_the_last": took, "left_for_a_person": left, "cases_missing_or_twice": twice}


def one_invalid_link(signals: StopSignals) -> dict[str, Any]:
    """300 jobs wait behind one tenant's invalid link."""
    with LocalStack(signals, settings=SETTINGS) as stack:
        stack.migrate()
        call(stack, "links", {"externalTenantId": "t0", "state": "invalid"})
        fill(stack, jobs=300, tenants=1, prefix="t")
        for _ in range(2):
            stack.start_worker()
        _until_posts(signals, stack)
        signals.rest(LASTS)
        return _counts(stack)


def _until_posts(signals: StopSignals, stack: LocalStack) -> None:
    while not call(stack, "requests?path=/cases"):
        signals.check()
        signals.rest(0.05)


def _counts(stack: LocalStack) -> dict[str, Any]:
    stats = call(stack, "stats")
    return {
        "dead": asked(stack, "SELECT count(*) FROM jobs WHERE state = 'dead'"),
        "flagged": asked(stack, "SELECT count(*) FROM dead_letters WHERE invalid_client_link AND resolved_at IS NULL"),
        "held": asked(stack, "SELECT count(*) FROM jobs WHERE state = 'held'"),
        "posts": sum(stats["requests"].get("POST /cases", {}).values()),
        "mints": stats["mints"],
    }


def _tell(name: str, found: dict[str, Any]) -> None:
    sys.stdout.write(f"{name}: {json.dumps(found)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
