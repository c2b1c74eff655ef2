"""End a gateway whose agent was killed: `undertaker.py GROUP SECONDS`.

The parent-death signal reaches one process, once, and not a program with file capabilities
(prctl(2)); workers and those that ignore SIGTERM would stay behind. So this waits beside the
gateway, outside its group, with a pipe from the agent as its stdin. A byte means that all is well;
the pipe's end without one means that the agent is gone. Imports nothing of ours.
"""

import os
import signal
import sys
import time


def main() -> None:
    group, seconds = int(sys.argv[1]), float(sys.argv[2])
    for ours in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ours, signal.SIG_IGN)  # whoever stops the agent does not stop this before its work
    if sys.stdin.buffer.read(1):
        return
    until = time.monotonic() + seconds
    try:
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main()
