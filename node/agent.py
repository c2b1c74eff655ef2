"""The agent: the shell that carries out what the session asks, beside one gateway."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from math import isfinite
from pathlib import Path
from random import SystemRandom
from typing import Any, assert_never

import aiohttp

from node.api import limits_shown, serve
from node.bundle import Bundle
from node.changes import LOOK_SECONDS, Applied, Changes
from node.clock import HostClock
from node.codec import ProtocolError, decode, encode
from node.config import NodeSettings
from node.effects import (
    ApplyLimits,
    Change,
    Close,
    Connect,
    Drain,
    Effect,
    Log,
    LookUp,
    Renewed,
    Restart,
    Save,
    Send,
    Stage,
    TakeLimits,
)
from node.fingerprint import fingerprint
from node.gateways import open_gateway
from node.gateways.adapter import Gateway
from node.gateways.child import end_leftover
from node.gateways.configfile import ConfigFile
from node.gateways.errors import GatewayError
from node.gateways.files import Files
from node.gateways.processes import process_id, use_of
from node.link import CONNECT_SECONDS_MAX, Link
from node.lookup import look_up
from node.notify import READY, STOPPING, notify
from node.phases import Joined
from node.protocol import Limits
from node.provision import for_neighbour, from_file, from_neighbours, put_configuration, refusal
from node.service import WHY
from node.session import Session
from node.settings import HostPort, SettingsError
from node.state import StateError, StateFile, write_atomically
from node.tls import to_managers

_LOG = logging.getLogger(__name__)


_STATS_SECONDS = 5.0


class Agent:
    """Owns the session, the connection, the gateway and the state; `run` it once."""

    def __init__(
        self, settings: NodeSettings, state: StateFile, environ: Mapping[str, str], name: str, version: str
    ) -> None:
        """`name` is for people, to find this node in the managers' lists."""
        self._settings, self._state, self._name = settings, state, name
        self._gateway: Gateway = open_gateway(
            settings.gateway,
            environ,
            lambda gateway: state.record_gateway(gateway, process_id(os.getpid())),
            state.path.parent / "gateway",
        )
        self._session = Session(
            seeds=[str(seed) for seed in settings.seed],
            state=state.state,
            rng=SystemRandom(),
            clock=HostClock(),
            name=name,
            agent_version=version,
            fingerprint=fingerprint(state.path.parent),
            weight=settings.weight,
            labels=settings.labels,
            ephemeral=settings.class_ == "ephemeral",
            token=settings.token.get_secret_value(),
            restarts_for_limits=settings.gateway.kind == "krakend",
        )
        tls = settings.tls
        try:
            self._tls = to_managers(tls.ca, tls.server_name, tls.cert, tls.key) if tls.ca else None
        except (OSError, ValueError) as error:
            raise SettingsError(f"`tls` cannot be used ({error}): name files in PEM") from None
        self._client: aiohttp.ClientSession | None = None
        self._link: Link | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.monotonic()
        self._stopping = False
        self._gateway_counters: dict[str, float] = {}
        self._config = ConfigFile(settings.gateway, state.path.parent / "gateway")
        self._changes = Changes(self, self._session, self._gateway, self._config, settings.gateway, self._now)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the operator stops us or the gateway; then leave, and end the gateway.

        Raises `SettingsError` or `StateError` before the gateway is started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(
            signal.SIGHUP, _LOG.info, "HUP has no meaning here: to read %s, restart", "service.yml"
        )
        async with self._serve_api():
            await end_leftover(self._state.gateway, self._settings.gateway.stop_timeout, self._state.agent)
            self._save_first_state()
            notify(READY)
            connector = aiohttp.TCPConnector(use_dns_cache=False, force_close=True)
            async with aiohttp.ClientSession(connector=connector) as self._client:
                bundle = await self._bundle_to_start_by()
                gateway = asyncio.create_task(self._gateway.start())
                helpers = [
                    asyncio.create_task(work)
                    for work in (self._changes.apply_limits(), self._read_stats(), self._watch_gateway())
                ]
                if not self._stopping:
                    self.observe()
                    wall = time.time()
                    renewed, silent = self._state.renewed_ago(wall), self._state.silent_for(wall)
                    self.perform(self._session.start(loop.time(), renewed, silent, bundle))
                try:
                    await gateway
                finally:
                    for helper in (*helpers, *self._tasks):
                        helper.cancel()
                self._leave("its gateway was stopped")
                if self._closing:
                    await asyncio.wait(self._closing)

    # What the API shows

    @property
    def limits(self) -> tuple[int, str, Limits]:
        return self._changes.limits

    @property
    def applied(self) -> Applied:
        return self._changes.applied

    @property
    def not_ready(self) -> str:
        if self._stopping:
            return "the agent is stopping"
        if self._session.duties.service.shown:
            return WHY[self._session.duties.service.shown]
        if self._gateway.draining:
            return "the gateway drains"
        if self._session.duties.restarts.going:
            return "it is restarted for other limits"
        return "" if self._gateway.state == "running" else f"the gateway is {self._gateway.state}"

    @property
    def joined(self) -> bool:
        return isinstance(self._session.phase, Joined)

    @property
    def registered(self) -> bool:
        return self._session.place.registered

    @property
    def degrades_in(self) -> float | None:
        seconds = self._session.place.degrades_in(self._now())
        return seconds if isfinite(seconds) else None

    @property
    def node(self) -> dict[str, object]:
        """This node, for `/v1/node`."""
        state, phase = self._session.state, self._session.phase
        return {
            "id": state.id,
            "name": self._name,
            "joined": self.joined,
            "manager": phase.manager if isinstance(phase, Joined) else "",
            "incarnation": state.incarnation,
            "service": self._session.duties.service.shown or "in service",
            "registered": self.registered,
            "degrades_in_seconds": self.degrades_in,
            "gateway": {
                "kind": self._settings.gateway.kind,
                "state": self._gateway.state,
                "restarts": self._gateway.restarts,
                "draining": self._gateway.draining,
            },
        }

    @property
    def config(self) -> dict[str, object]:
        """The gateway's own configuration file, for `/v1/config`."""
        state = self._session.duties.configuration.state
        return {
            "path": self._settings.gateway.config,
            "version": state.version,
            "sha256": state.on_disk or None,
            "running": state.running or None,
            "staged": state.staged,
            "failed": state.failed,
            "note": state.note,
        }

    @property
    def counters(self) -> dict[str, float]:
        gateway = self._gateway.use()
        return {
            "agent_cpu_seconds": time.process_time(),
            "agent_rss_bytes": float(use_of(os.getpid(), descend=False).rss_bytes),
            "agent_uptime_seconds": time.monotonic() - self._started,
            "gateway_cpu_seconds": gateway.cpu_seconds,
            "gateway_rss_bytes": float(gateway.rss_bytes),
            "gateway_restarts": float(self._gateway.restarts),
            **self._gateway_counters,
        }

    # What a link tells

    def link_connected(self, link: Link, remote: str) -> None:
        if link is self._link:
            self.observe()
            self.perform(self._session.connected(self._now(), remote))

    def link_failed(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._link = None
            self.perform(self._session.connect_failed(reason, self._now()))

    def link_received(self, link: Link, frame: bytes) -> None:
        if link is not self._link:
            return
        try:
            message = decode(frame)
        except ProtocolError as error:
            self.perform(self._session.broken(str(error), self._now()))
            return
        if message is not None:
            self.perform(self._session.received(message, self._now()))

    def link_closed(self, link: Link, code: int, reason: str) -> None:
        if link is self._link:
            self._link = None
            self.perform(self._session.closed(code, reason, self._now()))

    # What is to be done

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what the session asks."""
        for effect in effects:
            match effect:
                case Connect(address):
                    assert self._client is not None
                    self._link = Link(self._client, address, self, self._tls)
                case LookUp(name):
                    self._begin(self._look_up(name))
                case Send(message):
                    assert self._link is not None
                    self._link.send(encode(message))
                case Close(code, reason):
                    self._close(code, reason)
                case Save(state):
                    try:
                        self._state.save(state)
                    except StateError as error:
                        self.perform(self._session.save_failed(str(error), self._now()))
                        return
                    self._session.saved()
                case ApplyLimits(version, source, limits):
                    self._changes.want_limits(version, source, limits)
                    self._write_limits()
                case Renewed(seconds):
                    self._state.note_renewal(time.time() - seconds)
                case Stage():
                    self._begin(self._changes.stage(effect))
                case Change(sha256):
                    self._begin(self._changes.change(sha256))
                case Drain(serial):
                    self._begin(self._changes.drain(serial))
                case Restart():
                    self._begin(self._changes.restart())
                case TakeLimits():
                    self._changes.take_limits()
                case Log(level, text):
                    _LOG.log(level, "%s", text)
                case _:
                    assert_never(effect)
        self._arm_timer()

    async def _watch_gateway(self) -> None:
        """Tell a manager at once what becomes of the gateway, and of its configuration file."""
        said: object = None
        while True:
            self.observe()
            says = self._session.says, self._session.duties.state
            if said not in (None, says):
                self.perform(self._session.noticed(self._now()))
            said = says
            await asyncio.sleep(LOOK_SECONDS)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, name: str) -> None:
        found: list[HostPort] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                found = await look_up(name)
        self.perform(self._session.looked_up(name, map(str, found), self._now()))

    async def _read_stats(self) -> None:
        """Keep the counters of the gateway's own statistics fresh, where it has any."""
        said = ""
        while True:
            try:
                self._gateway_counters = await self._gateway.stats()
                self._session.served = self._gateway.served
                said = ""
            except GatewayError as error:
                # Once, not every few seconds, and only of a gateway that runs.
                if str(error) != said and self._gateway.state == "running":
                    said = str(error)
                    _LOG.warning("No statistics of the gateway: %s", said)
            await asyncio.sleep(_STATS_SECONDS)

    def _close(self, code: int, reason: str) -> None:
        if self._link is not None:
            closing = self._link.close(code, reason)
            self._link = None
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _write_limits(self) -> None:
        if not self._settings.limits_file:
            return
        version, source, limits = self.limits
        content = {"version": version, "source": source, "limits": limits_shown(limits)}
        try:
            write_atomically(
                Path(self._settings.limits_file), json.dumps(content).encode() + b"\n", mode=0o644
            )
        except OSError as error:
            _LOG.error("The limits are not written to %s: %s", self._settings.limits_file, error.strerror)

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._session.next_deadline()
        self._timer = (
            asyncio.get_running_loop().call_at(deadline, self._tick) if deadline is not None else None
        )

    def _tick(self) -> None:
        self.observe()
        self.perform(self._session.tick(self._now()))

    def observe(self) -> None:
        """Let the session know how the gateway is now."""
        kind = self._settings.gateway.kind
        self._session.gateway = kind if kind == "none" else f"{kind}: {self._gateway.state}"
        self._session.counters = self.counters
        self._config.look(self._gateway.restarts)
        configuration = self._session.duties.configuration
        configuration.managed, configuration.ready = self._config.managed, not self.not_ready
        configuration.on_disk, configuration.running = self._config.on_disk, self._config.running

    # A provisional start, and another node's

    async def _bundle_to_start_by(self) -> Bundle | None:
        """What a node that was never let in starts from; None for any other, and where there is nothing."""
        settings, bundle = self._settings, None
        if self._session.state.id or self._stopping:
            return None
        assert self._client is not None
        if settings.bundle.file:
            bundle = from_file(settings.bundle, time.time())
        elif settings.neighbours:
            token = settings.token.get_secret_value()
            bundle = await from_neighbours(self._client, settings.neighbours, token, time.time())
        if bundle is None or self._stopping:
            return None
        folder = self._state.path.parent / "gateway"
        await put_configuration(self._gateway, settings.gateway, bundle, folder)
        if self._state.silent_for(time.time()) == 0.0:
            self._state.note_renewal(time.time())  # from now on it waits for a manager
        return bundle

    def bundle_for(self, authorization: str, remote: str) -> tuple[Bundle | None, str]:
        """What a neighbour may start from, or why it is told nothing."""
        why = refusal(self._settings.token.get_secret_value(), authorization, remote)
        if not why and not self.registered:
            why = "this node is none of the cluster itself"
        if why:
            return None, why
        state, content = self._session.state, b""
        if self._config.managed and state.config_version:
            with contextlib.suppress(GatewayError):
                content = Files.read(Path(self._settings.gateway.config)) or b""
        kind = self._settings.gateway.kind
        return for_neighbour(state, self._session.managers, kind, content, time.time()), ""

    # Start and end

    def _serve_api(self) -> contextlib.AbstractAsyncContextManager[None]:
        return serve(self._settings.api, self) if self._settings.api else contextlib.nullcontext()

    def _save_first_state(self) -> None:
        """So that the gateway can be recorded beside it; the session saves it again before each hello."""
        if self._state.state is None:
            try:
                self._state.save(self._session.state)
            except StateError as error:
                _LOG.warning("%s", error)

    def _stop(self) -> None:
        self._stopping = True
        notify(STOPPING)
        self._leave("stopped by its operator")
        self._gateway.stop()

    def _leave(self, reason: str) -> None:
        effects = self._session.leave(reason, self._now())
        if effects:
            _LOG.info("Leaving: %s", reason)
        self.perform(effects)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
