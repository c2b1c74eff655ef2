"""This host's clocks, as a ticket's life is counted by them."""

import time
from pathlib import Path

from node.life import Clock

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class HostClock:
    """Call it to know what they show now."""

    def __init__(self) -> None:
        self._boot = _BOOT.read_text().strip()

    def __call__(self) -> Clock:
        return Clock(self._boot, time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
