"""Become the gateway, bound to the life of the agent: `launch.py AGENT_PID PROGRAM [ARGUMENT...]`.

A program of its own and not a `preexec_fn`, because what runs between fork and exec in a process
with threads may deadlock. It keeps its pid through the exec, so that the agent's child is the
gateway itself. Imports nothing of ours: it runs isolated, for a start that takes milliseconds.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    agent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != agent:  # it died before the kernel knew of our wish
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
