"""Run the web page: one process with threads, logging like the worker."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import structlog
import uvicorn
from sqlalchemy import Engine

from worker.errors import SettingsError
from worker.report.web.application import create_application
from worker.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds that open requests get at shutdown.
SHUTDOWN_TIMEOUT = 10


def serve(
    settings: Settings,
    engine: Engine,
    environ: Mapping[str, str],
    *,
    host: str,
    port: int,
    local_name: str,
    tell: Callable[[str], None],
) -> None:
    """Serve until a signal arrives. `tell` gets a line with the address once the socket listens.

    Raises SettingsError, also if the address cannot be used.
    """
    app = create_application(settings, engine, environ, local_name=local_name)
    app.settings.require_safe(host)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        # `peers` evaluates proxy headers itself, and must see the real client address.
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
        timeout_keep_alive=30,
    )
    listener = _listen(host.strip("[]"), port)
    name, number = listener.getsockname()[:2]
    if not settings.encryption_keys:
        log.warning("cases_not_encrypted", setting="CASE_ENCRYPTION_KEYS")
    whom = "all users of this machine" if app.settings.local_only else "users who sign in"
    tell(f"The report is at http://{f'[{name}]' if ':' in name else name}:{number}/ for {whom}. Press Ctrl-C to stop.")
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    """Listen before the address is printed, so that its reader can open it at once."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise SettingsError(f"--host {host} --port {port} cannot be used: {error.strerror}") from None
    return listener
