"""Who keeps a gateway running, whatever kind it is: this agent, systemd, or nobody whom we know."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from node.gateways.processes import Use

CRASHES_MAX = 3
"""Crashes in a row, none after `STEADY_SECONDS`, that make a loop: the last known good files are put back."""
STEADY_SECONDS = 60.0
"""How long a gateway must have run for its next crash to start the back-off anew."""

OnLoop: TypeAlias = Callable[[str], Awaitable[None]]
"""Told the gateway's last lines when it crashes again and again, before its next start."""


class Supervisor(Protocol):
    """Starts, watches and ends one gateway."""

    @property
    def state(self) -> str:
        """`running` when it is up; else what is the matter, in a word."""

    @property
    def restarts(self) -> int:
        """Starts after a crash, since the agent started."""

    @property
    def pid(self) -> int | None:
        """Of the gateway's main process, where it is known and alive."""

    async def run(self, on_loop: OnLoop) -> None:
        """Start it and keep it running; returns when it was stopped, by `stop` or by its operator."""

    def stop(self) -> None:
        """Begin to end it; called again, end it at once."""

    async def restart(self) -> None:
        """End it gracefully and start it anew; returns once it runs. Raises `GatewayError`."""

    def use(self) -> Use:
        """What its processes have used so far."""
