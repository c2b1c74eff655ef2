"""End a gateway whose agent was killed: `undertaker.py GROUP SECONDS OUTPUT`.

The parent-death signal reaches one process, once, and not a program with file capabilities
(prctl(2)); workers and those that ignore SIGTERM would stay behind. So this waits beside the
gateway, outside its group, with a pipe from the agent as its stdin. A byte means that all is well;
the pipe's end without one means that the agent is gone. From then on it empties the pipe OUTPUT, a
descriptor: a gateway that logs while it drains must not end by SIGPIPE. Imports nothing of ours.
"""

import os
import select
import signal
import sys
import time


def main() -> None:
    group, seconds, output = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    for ours in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ours, signal.SIG_IGN)  # whoever stops the agent does not stop this before its work
    if sys.stdin.buffer.read(1):
        return
    until = time.monotonic() + seconds
    try:
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < until:
            os.killpg(group, 0)
            _empty(output, 0.05)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _empty(output: int, seconds: float) -> None:
    """Read away what comes within `seconds`."""
    if not select.select([output], [], [], seconds)[0] or not os.read(output, 65536):
        time.sleep(seconds)  # nothing came, or its writers are gone: the group may live on


if __name__ == "__main__":
    main()
