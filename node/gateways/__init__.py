"""The gateways that an agent can look after: none, or a command.

Each has `run()`, which returns once the gateway was stopped, `stop()`, `state`, `restarts` and `use()`.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from node.config import GatewaySettings
from node.gateways.command import CommandGateway
from node.gateways.none import NoGateway
from node.gateways.processes import Use
from node.state import ProcessId


class Gateway(Protocol):
    """What an agent looks after."""

    @property
    def state(self) -> str:
        """`running` when it is up; else what is the matter, in a word."""

    @property
    def restarts(self) -> int:
        """Since the agent started."""

    async def run(self) -> None:
        """Keep it running; returns when it was stopped, by `stop` or by its operator."""

    def stop(self) -> None:
        """Begin to end it; called again, end it at once."""

    def use(self) -> Use:
        """What its processes have used so far."""


def open_gateway(
    settings: GatewaySettings, environ: Mapping[str, str], record: Callable[[ProcessId | None], None]
) -> Gateway:
    """The gateway that `settings` describe; `record` is told which process it is."""
    if settings.kind == "command":
        return CommandGateway(settings, environ, record)
    return NoGateway()
