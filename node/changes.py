"""What changes the gateway, one thing at a time: limits, configurations, restarts, and draining."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from node.config import GatewaySettings
from node.effects import Effect, Stage
from node.gateways.adapter import Gateway
from node.gateways.configfile import ConfigFile
from node.gateways.errors import GatewayError
from node.protocol import Limits
from node.session import Session

_LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
"""How often what becomes of the gateway is looked at."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The limits that the gateway works under, what that cost, and what is wrong with newer ones."""

    version: int
    how: str
    error: str


class Shell(Protocol):
    """Whose session is told what came of it."""

    @property
    def not_ready(self) -> str:
        """Why the gateway gets no traffic; empty where it does."""

    def observe(self) -> None:
        """Let the session know how the gateway is now."""

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what the session asks."""


class Changes:
    """Each method but `apply_limits`, which runs for good, is one effect's work."""

    def __init__(
        self,
        shell: Shell,
        session: Session,
        gateway: Gateway,
        config: ConfigFile,
        settings: GatewaySettings,
        now: Callable[[], float],
    ) -> None:
        self.limits: tuple[int, str, Limits] = (0, "", {})
        """Version, source and limits that shall be in force. Read-only for others."""
        self.applied = Applied(0, "", "")
        self._shell, self._session, self._gateway = shell, session, gateway
        self._config, self._settings, self._now = config, settings, now
        self._lock = asyncio.Lock()
        """Held while the gateway is given something new."""
        self._limits_wanted = asyncio.Event()
        self._may_take_limits = asyncio.Event()

    def want_limits(self, version: int, source: str, limits: Limits) -> None:
        """These are to be in force as soon as can be."""
        self.limits = (version, source, limits)
        self._limits_wanted.set()

    def take_limits(self) -> None:
        """There is a turn to be restarted for the newest."""
        self._may_take_limits.set()

    async def apply_limits(self) -> None:
        """Bring the newest limits into force, as often as the gateway can take them."""
        step = 0
        while True:
            await self._limits_wanted.wait()
            await self._gateway.settle()
            self._limits_wanted.clear()
            await self._get_turn()
            try:
                async with self._lock:
                    if not self._may_apply():  # what had it out of service is over by now
                        self._limits_wanted.set()
                        continue
                    version, _, limits = self.limits
                    how = await self._gateway.apply_limits(limits)
            except GatewayError as error:
                step += 1
                delay = min(60.0, 2.0**step)
                self.applied = replace(self.applied, error=str(error))
                self._shell.observe()
                self._shell.perform(self._session.limits_failed(self._now()))
                _LOG.error("Limits %d are not in force: %s; next try in %.0f s", version, error, delay)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._limits_wanted.wait(), delay)
                self._limits_wanted.set()
                continue
            step = 0
            self.applied = Applied(version, how, "")
            self._shell.observe()
            self._shell.perform(self._session.limits_applied(version, limits, self._now()))

    async def _get_turn(self) -> None:
        """Where the newest limits take a restart of a gateway that is in service, wait for a turn."""
        while not self._may_apply():
            self._may_take_limits.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._may_take_limits.wait(), LOOK_SECONDS)

    def _may_apply(self) -> bool:
        """Whether the newest limits may be put into force now; asks for a turn where they need one."""
        self._shell.observe()
        restart = not self._shell.not_ready and self._gateway.restarts_for(self.limits[2])
        self._shell.perform(self._session.limits_restart(restart, self._now()))
        return self._session.duties.restarts.may

    async def stage(self, stage: Stage) -> None:
        error = ""
        try:
            await self._gateway.validate(stage.content)
            if not stage.trial:
                self._config.stage(stage.content)
        except GatewayError as why:
            error = str(why)
        self._shell.observe()
        self._shell.perform(self._session.staged(stage.sha256, error, self._now()))

    async def change(self, sha256: str) -> None:
        error = ""
        try:
            content = self._config.staged(sha256)
            async with self._lock:
                how = await self._gateway.change(content)
                _LOG.info("The gateway has %s for its new configuration", how)
        except GatewayError as why:
            error = str(why)
        self._config.taken()
        self._shell.observe()
        self._shell.perform(self._session.changed(sha256, error, self._now()))

    async def drain(self, serial: int) -> None:
        await asyncio.sleep(self._settings.drain)
        self._shell.perform(self._session.drained(serial, self._now()))

    async def restart(self) -> None:
        error = ""
        try:
            async with self._lock:
                await self._gateway.restart()
            self._config.taken()
        except GatewayError as why:
            error = str(why)
        self._shell.observe()
        self._shell.perform(self._session.restarted(error, self._now()))
