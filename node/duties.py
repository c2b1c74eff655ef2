"""What a node does with its gateway at a manager's word: the pure core, a part of the session.

The gateway takes another configuration, goes out of service and comes back, or is restarted for its limits;
the manager is told how far each of these is in one `ConfigState`.
"""

from dataclasses import replace

from node.configuration import Configuration
from node.effects import Effect, Save, Send
from node.kept import Kept
from node.protocol import ConfigMessage, ConfigState, MayRestart, Order
from node.restarts import Restarts
from node.service import Service


class Duties:
    """Carry out what it returns, and only then tell a manager: by then it is on disk what has to be."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.configuration = Configuration(kept.state.config_version)
        self.service = Service(kept.state.service, kept.state.order)
        self.restarts = Restarts()

    @property
    def state(self) -> ConfigState:
        """What a hello and a report say of configuration and service."""
        state, service, restarts = self.configuration.state, self.service, self.restarts
        return replace(
            state,
            ready=state.ready and not service.shown and not restarts.going,
            changing=state.changing or bool(restarts.going),
            restart_asked=restarts.asked,
            restart_taken=restarts.taken,
            service=service.shown,
            order_serial=service.taken[0],
            order_writer=service.taken[1],
            order_note=service.note,
        )

    def received(self, message: Order | MayRestart | ConfigMessage) -> tuple[list[Effect], bool]:
        """A manager's word on the open session; and whether it is to hear at once how far things are."""
        match message:
            case Order():
                return self._served(self.service.received(message)), True
            case MayRestart(number=number):
                return self.restarts.permitted(number), True
            case _:
                before = self.configuration.state
                effects = self._configured(self.configuration.received(message), joined=True)
                return effects, self.configuration.state != before

    def staged(self, sha256: str, error: str, *, joined: bool) -> list[Effect]:
        """The outcome of `Stage`."""
        return self._configured(self.configuration.staged(sha256, error), joined=joined)

    def changed(self, sha256: str, error: str, *, joined: bool) -> list[Effect]:
        """The outcome of `Change`."""
        return self._configured(self.configuration.changed(sha256, error), joined=joined)

    def drained(self, serial: int) -> list[Effect]:
        """The outcome of `Drain`."""
        return self._served(self.service.drained(serial))

    def restarted(self, error: str) -> list[Effect]:
        """The outcome of `Restart`."""
        return self._served(self.service.restarted(error))

    def _configured(self, effects: list[Effect], *, joined: bool) -> list[Effect]:
        """Keep which configuration it runs; what was for a manager is dropped without one."""
        effects = [effect for effect in effects if joined or not isinstance(effect, Send)]
        if self.configuration.version == self._kept.state.config_version:
            return effects
        self._kept.state = replace(self._kept.state, config_version=self.configuration.version)
        return [*effects, Save(self._kept.state)]

    def _served(self, effects: list[Effect]) -> list[Effect]:
        """Keep what an operator wants."""
        kept = self._kept.state
        if (kept.service, kept.order) == (self.service.kept, self.service.taken):
            return effects
        self._kept.state = replace(kept, service=self.service.kept, order=self.service.taken)
        return [Save(self._kept.state), *effects]
