"""Follow the autoscaling signal with any command: for platforms whose autoscaler reads neither Prometheus nor JSON.

    python examples/autoscaling/follow.py http://127.0.0.1:8080/scaling --most 8 -- \
        docker compose up --detach --no-recreate --scale worker={workers}

It asks every few seconds how many workers are useful and runs the command with that number whenever it changes: upwards
at once, downwards only after the number has been lower for a while, so that a lull of seconds ends no worker. Workers
that are to go get a SIGTERM from the platform; they finish what is under way and hand back the rest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections import deque


class Follower:
    """Decides how many workers there should be, from what was useful lately."""

    def __init__(self, *, fewest: int, most: int, patience: float) -> None:
        """`patience`: for so many seconds fewer workers must have been useful before any is ended."""
        self._fewest = fewest
        self._most = most
        self._patience = patience
        self._lately: deque[tuple[float, int]] = deque()

    def decide(self, useful: int, *, now: float) -> int:
        """The number to have, when that many are useful at this moment (seconds of any steady clock)."""
        self._lately.append((now, useful))
        while self._lately[0][0] < now - self._patience:
            self._lately.popleft()
        return min(max(self._fewest, *(number for _, number in self._lately)), self._most)


def useful_workers(url: str) -> int:
    """Ask. Raises OSError or ValueError when no usable answer comes; then the number is best left as it is."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no web address")
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(json.load(answer)["useful_workers"])


def main() -> int:
    """Follow until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Run a command whenever another number of workers is useful.")
    parser.add_argument("url", help="where `case-worker web` answers /scaling")
    parser.add_argument("--fewest", type=int, default=1)
    parser.add_argument("--most", type=int, default=10)
    parser.add_argument("--every", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--patience", type=float, default=120, metavar="SECONDS")
    parser.add_argument("command", nargs="+", help="{workers} in it becomes the number; put -- before it")
    asked = parser.parse_args()
    follower, there = Follower(fewest=asked.fewest, most=asked.most, patience=asked.patience), -1
    while True:
        try:
            wanted = follower.decide(useful_workers(asked.url), now=time.monotonic())
        except (OSError, ValueError, KeyError) as error:
            print(f"no answer, so nothing is changed: {error}", file=sys.stderr)
            wanted = there
        if wanted != there:
            print(f"{wanted} workers", flush=True)
            command = [part.replace("{workers}", str(wanted)) for part in asked.command]
            if subprocess.run(command, check=False).returncode:
                print("the command failed; it is run again with the next look", file=sys.stderr)
            else:
                there = wanted
        time.sleep(asked.every)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
