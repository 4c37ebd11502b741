"""Who runs a command."""

from __future__ import annotations

import getpass
import os


def os_user() -> str:
    """Who runs this, as the operating system knows it (an environment variable could say anything)."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:  # a container often runs as a number without a name
        return f"uid {os.getuid()}"
