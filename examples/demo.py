"""`make demo`: the example cases on their way through a real worker to the sandbox, and what became of them.

Needs nothing but .venv: PostgreSQL and Valkey come from wheels, and both Debitura APIs are the sandbox. Everything that
was started is stopped again, also on Ctrl-C and when something fails. With `--keep` (`make dev`) the servers and the
worker are left running until Ctrl-C, and the environment to paste is printed. With `--page` (`make page`) the cases go
their way too, and then the report is served as a web page on what became of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from urllib.request import urlopen

from local_stack import LocalStack
from processes import Child, Failed, Stopped, StopSignals, program
from progress import Progress
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from worker.ledger.database import get_engine
from worker.ledger.queries import counts
from worker.ledger.states import State

CASES = "examples/cases.ndjson"
#: Retries within seconds, so that every way in which a case can end is seen in one short run.
SETTINGS = {
    "WORKER_MAX_ATTEMPTS": "3",
    "WORKER_RETRY_BASE_SECONDS": "0.2",
    "WORKER_RETRY_MAX_SECONDS": "1",
    "WORKER_REQUEST_TIMEOUT_SECONDS": "3",
    "WORKER_LEASE_SECONDS": "15",
    "WORKER_REQUEUE_SECONDS": "5",
}
#: Signs the sandbox's webhooks to the page; base64, as Debitura gives it.
WEBHOOK_SECRET = "YSBzZWNyZXQgb2YgdGhlIGRlbW8gb25seQ=="
DONE = (State.SUBMITTED, State.DEAD, State.DISCARDED)
#: Seconds after which cases that still are under way mean that something is wrong.
PATIENCE = 45

out = Console(highlight=False, soft_wrap=True)


def demonstrate(stack: LocalStack, worker: Child, signals: StopSignals) -> None:
    """Enqueue the example cases, wait for their ends, and show counts and report. Raises Failed, Stopped."""
    case_worker = program("case-worker")
    out.print(f"\n[bold]$ case-worker enqueue {CASES}[/]")
    stack.run("case-worker enqueue", [case_worker, "enqueue", CASES], show=True)
    await_ends(stack, worker, signals)
    for words in (["status"], ["report"]):
        out.print(f"\n[bold]$ case-worker {' '.join(words)}[/]")
        stack.run(f"case-worker {' '.join(words)}", [case_worker, *words], show=True)
    show_witness(stack)


def await_ends(stack: LocalStack, worker: Child, signals: StopSignals) -> None:
    """Wait until every case has come to its end, with a progress bar."""
    engine = get_engine(stack.environment["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
    until = time.monotonic() + PATIENCE
    try:
        with Progress(out, "cases at their end") as progress:
            while True:
                stack.require_alive()
                with engine.connect() as connection:
                    jobs = counts(connection).jobs
                done, total = sum(jobs[state] for state in DONE), sum(jobs.values())
                progress.show(done, total)
                if total and done == total:
                    return
                if time.monotonic() > until:
                    raise Failed(f"{total - done} cases are still under way after {PATIENCE} s", worker.log)
                signals.rest(0.1)
    finally:
        engine.dispose()


def show_witness(stack: LocalStack) -> None:
    """What the other side saw: the promise is that it has no case twice."""
    with urlopen(f"{stack.sandbox_url}/_sandbox/stats", timeout=5) as answer:
        stats = json.load(answer)
    out.print(f"\nThe sandbox has {stats['cases']} cases; of the same case at most {stats['max_cases_per_body']}.")


def enqueue_and_await(stack: LocalStack, worker: Child, signals: StopSignals) -> None:
    """The example cases, to their ends. Raises Failed, Stopped."""
    stack.run("case-worker enqueue", [program("case-worker"), "enqueue", CASES])
    await_ends(stack, worker, signals)


def serve_page(stack: LocalStack, **more: str) -> str:
    """Serve the report as a web page; keywords are more variables for its environment. Returns its address."""
    web = stack.start("case-worker web", [program("case-worker"), "web", "--port", "0"], **more)
    return stack.await_words(web, "The report is at ").split()[0]


def keep(stack: LocalStack, signals: StopSignals) -> None:
    """Say how to use what is running, and wait for Ctrl-C."""
    page = serve_page(stack, DEBITURA_WEBHOOK_SECRET=WEBHOOK_SECRET)
    out.print(f"\nThe report as a web page: [bold]{page}[/]")
    out.print("\nRunning until Ctrl-C. To use it from another terminal, paste there:\n")
    for name, value in stack.environment.items():
        out.print(f"export {name}={shlex.quote(value)}", markup=False)
    out.print(f"\nFor example: .venv/bin/case-worker enqueue {CASES}")
    show_healing(stack, page)
    while True:
        stack.require_alive()
        signals.rest(0.5)


def show_healing(stack: LocalStack, page: str) -> None:
    """How to see a link heal itself: the client links again, and Debitura says so."""
    tenant = "invalid-rosenhof"
    link = {"externalTenantId": tenant, "state": "ok"}
    event = {
        "url": f"{page}webhooks/debitura", "secret": WEBHOOK_SECRET, "event": "client.linked",
        "externalTenantId": tenant,
    }  # fmt: skip
    out.print(f"\nTo see the link of {tenant} heal itself, and its cases go out (in Activity):")
    for name, fields in (("links", link), ("webhook", event)):
        data = shlex.quote(json.dumps(fields))
        out.print(f"curl {stack.sandbox_url}/_sandbox/{name} -d {data}", markup=False)


def explain(failure: Exception) -> int:
    """Say what went wrong, with the end of the log that may say why. Returns the exit code."""
    out.print(Text.assemble("\n", ("The demo failed: ", "bold red"), f"{failure}"))
    if isinstance(failure, Failed) and failure.tail:
        out.print(Text(f"\nThe end of its log:\n{failure.tail}"))
    return 1


def main() -> int:
    """Run the demo. Returns the exit code: 0, 1 when something failed, 128 + the signal's number when stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the servers and the worker running until Ctrl-C")
    parser.add_argument("--page", action="store_true", help="the same, with the example cases in it")
    chosen = parser.parse_args()
    kept = chosen.keep or chosen.page
    began = time.monotonic()
    with StopSignals() as signals:
        try:
            out.print("Starting PostgreSQL, Valkey, the sandbox and a worker ...")
            with LocalStack(signals, settings=SETTINGS) as stack:
                stack.migrate()
                worker = stack.start_worker()
                if chosen.page:
                    enqueue_and_await(stack, worker, signals)
                if kept:
                    keep(stack, signals)
                demonstrate(stack, worker, signals)
                out.print(f"\nDone after {time.monotonic() - began:.0f} s; stopping everything.")
                out.print("The same report as a web page, on this data: [bold]make page[/]")
        except (Failed, RuntimeError, OSError, SQLAlchemyError) as failure:
            return explain(failure)
        except Stopped as stopped:
            out.print(f"\nStopped ({stopped}); nothing is left running.")
            assert signals.seen is not None
            return 0 if kept else 128 + signals.seen
    return 0


if __name__ == "__main__":
    sys.exit(main())
