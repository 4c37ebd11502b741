"""`python -m worker.sandbox --port 8000`: run the sandbox as a separate process."""

from __future__ import annotations

from typing import Any

import click

from worker.sandbox import server, tags
from worker.sandbox.rates import RateLimits
from worker.sandbox.state import DEFAULT_API_KEY


def check_limits(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Reject a bad notation on the command line, with the reason."""
    try:
        RateLimits(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@click.command(epilog="\b\n" + tags.HELP.replace("\n\n", "\n\n\b\n"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port; 0 picks a free one.")
@click.option("--api-key", default=DEFAULT_API_KEY, show_default=True, help="The partner key that is accepted.")
@click.option("--token-seconds", default=1800.0, show_default=True, help="Lifetime of a token.")
@click.option("--rate-limits", default="", callback=check_limits, help="Such as 2000/minute;20000/hour. Default: none.")
@click.option("--latency-ms", default=0.0, show_default=True, help="Delays every response of the APIs.")
def main(host: str, port: int, **settings: Any) -> None:
    """A stand-in for both Debitura APIs."""
    server.run(host, port, **settings)


if __name__ == "__main__":
    main()
