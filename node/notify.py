"""What systemd is told of us, where it started us as `Type=notify`: sd_notify(3), by the standard library."""

import contextlib
import os
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd `lines`; false where nobody wants to know. Never fails: nothing of ours hangs on it."""
    name = environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # An `@` stands for the abstract namespace.
        sock.connect("\0" + name[1:] if name[0] == "@" else name)
        sock.sendall("\n".join(lines).encode())
        return True
    return False


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear `ALIVE`, twice as often as it must; None where it does not."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or not int(text) or pid not in ("", str(os.getpid())):
        return None
    return int(text) / 2e6
