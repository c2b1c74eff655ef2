"""The shell of a simulated node: its process, its disk, and what its gateway works under."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from node.codec import decode, encode
from node.effects import (
    ApplyLimits,
    Change,
    Close,
    Connect,
    Drain,
    LookUp,
    NodeState,
    Renewed,
    Restart,
    Save,
    Stage,
    TakeLimits,
)
from node.effects import Effect as NodeEffect
from node.effects import Log as NodeLog
from node.effects import Send as SendToManager
from node.life import Clock
from node.phases import Joined
from node.protocol import Limits
from node.session import Session
from simulations.gateway import CHECK_SECONDS, DRAIN_SECONDS, SimGateway
from simulations.loop import Loop
from simulations.network import Connection, Network
from simulations.world import WALL_AT_START, World

LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Disk:
    """What a node has saved; it survives the node's process."""

    state: NodeState | None = None
    earlier: list[NodeState] = field(default_factory=list)
    """All that was ever there, oldest first."""
    ids: set[str] = field(default_factory=set)
    """Every id that was ever on it."""
    heard: float | None = None
    """When a manager was last heard, by its host's wall clock."""

    def save(self, state: NodeState) -> None:
        self.state = state
        self.ids.add(state.id)
        self.earlier.append(state)


@dataclass(slots=True)
class Applied:
    """The limits that a node's gateway works under."""

    source: str = ""
    limits: Limits = field(default_factory=dict)


class SimNode:
    """One node's agent, on a host of its own."""

    def __init__(
        self,
        network: Network,
        name: str,
        host: str,
        seeds: tuple[str, ...],
        disk: Disk | None = None,
        *,
        rate: float = 1.0,
        ephemeral: bool = False,
        token: str = "",
        saved: Callable[[], None] | None = None,
    ) -> None:
        """`saved` is called whenever something new is on its disk."""
        self.name = name
        self.host = host
        self.disk = disk or Disk()
        self.skew = 0.0
        """How far its host's wall clock is off."""
        self.powered = True
        self.gone = False
        """Whether it never starts again: an operator has vouched for that."""
        self._ephemeral = ephemeral
        self._token = token
        self._saved = saved
        self._boots = 1
        self._booted = network.world.now
        self.alive = False
        self.leaving = False
        """Whether it was told to stop."""
        self.copied = False
        """Whether its disk was copied to another node, or came from one."""
        self.set_back = False
        """Whether its disk ever went back in time."""
        self.applied = Applied()
        self.applies_after = 0.0
        """Seconds that its gateway takes for other limits."""
        self.restarts_for_limits = False
        """Whether it is out of service meanwhile, as KrakenD is."""
        self._newest: ApplyLimits | None = None
        """Limits that wait for a turn."""
        self.limits_changed: Callable[[], None] = lambda: None
        """Called when its gateway works under other limits."""
        self.gateway = SimGateway()
        self.lines: list[tuple[float, str]] = []
        self._network = network
        self._world: World = network.world
        self._seeds = seeds
        self._rate = rate
        self._starts = 0
        self.start()

    @property
    def id(self) -> str:
        """Its id, empty until a manager gave one."""
        return "" if self.disk.state is None else self.disk.state.id

    @property
    def joined(self) -> bool:
        """Whether a manager has let it in and serves it."""
        return isinstance(self.session.phase, Joined)

    @property
    def knows(self) -> list[str]:
        """The managers that it tries."""
        return self.session.managers

    @property
    def nonce(self) -> int:
        """That of its process."""
        return self.session._nonce

    def clock(self) -> Clock:
        """What its host's clocks show."""
        running = (self._world.now - self._booted) * self._rate
        wall = WALL_AT_START + self._world.now * self._rate + self.skew
        return Clock(f"{self.host}/{self._boots}", running, wall)

    @property
    def has_ticket(self) -> bool:
        """Whether it has a ticket that lives by its own clocks; it may run on by it at any time."""
        state = self.disk.state
        if state is None or state.life is None or self.gone or not self.powered:
            return False
        return bool(state.ticket) and state.life.left(self.clock()) > 0

    def start(self) -> None:
        """A new process on the same disk."""
        if self.gone:
            return
        self._starts += 1
        if not self.powered:
            self._boots += 1
            self._booted = self._world.now
        self.alive = self.powered = True
        self.leaving = False
        self._network.light(self.host)
        self._connection: Connection | None = None
        self._newest = None
        # Its gateway starts with the files that its last process left.
        self.applied = Applied("", self.applied.limits)
        rng = self._world.random(f"{self.host}/{self.name}/{self._starts}")
        self.loop = Loop(
            self._world, self._world.random(f"{self.host}/{self.name}/{self._starts}/loop"), self._rate
        )
        self._chance = self._world.random(f"{self.host}/{self.name}/{self._starts}/gateway")
        self.session = Session(
            seeds=self._seeds,
            state=self.disk.state,
            rng=rng,
            clock=self.clock,
            name=self.name,
            ephemeral=self._ephemeral,
            token=self._token,
        )
        self.gateway.start()
        self._look_at_gateway()
        wall, heard = self.clock().wall, self.disk.heard
        silent = 0.0 if heard is None else max(0.0, wall - heard)
        self._perform(self.session.start(self.loop.now, silent=silent))

    def manage(self, kind: str, content: bytes) -> None:
        """Its gateway is of `kind` and runs with `content`, which the agent can replace."""
        self.gateway.manage(kind, content)
        self._look_at_gateway()

    def kill(self) -> None:
        """SIGKILL: the connection's end is seen."""
        self._end(None)

    def power_off(self) -> None:
        """The host is gone, without a word."""
        self.alive = self.powered = False
        self.loop.end()
        self._network.vanish(self.host, dark=True)
        if self._connection is not None:
            self._connection.drop(0)

    def set_disk_back(self, state: NodeState) -> None:
        """The next process finds `state`; call it while none runs."""
        assert not self.alive
        self.set_back = True
        self.disk.state = state

    def stop(self) -> None:
        """SIGTERM."""
        self.leaving = True

        def leave() -> None:
            self._perform(self.session.leave("stopped", self.loop.now))
            self._end(None)

        self.loop.submit(leave)

    def _end(self, code: int | None) -> None:
        self.alive = False
        self.loop.end()
        if self._connection is not None:
            self._connection.close(0, code)

    def _perform(self, effects: list[NodeEffect]) -> None:
        for effect in effects:
            match effect:
                case Save(state):
                    self.disk.save(state)
                    self.session.saved()
                    if self._saved is not None:
                        self._saved()
                case Connect(address):
                    self._connect(address)
                case LookUp():
                    raise AssertionError("simulated nodes are given addresses")
                case SendToManager(message):
                    if self._connection is not None:
                        self._connection.send(0, encode(message))
                case Close(code):
                    if self._connection is not None:
                        self._connection.close(0, code)
                    self._connection = None
                case Stage(sha256, content, trial):
                    self._later(CHECK_SECONDS, self._stage(sha256, content, trial=trial))
                case Change(sha256):
                    self._later(self.gateway.go(self._chance), self._change(sha256))
                case Drain(serial):
                    self._later(DRAIN_SECONDS, partial(self._drained, serial))
                case Restart():
                    self._later(self.gateway.go(self._chance), self._restarted)
                case ApplyLimits() if self.restarts_for_limits and self.applied.limits:
                    if self._newest is None:
                        self.loop.later(LOOK_SECONDS, self._look_again)
                    self._newest = effect
                    self._take_newest()
                case TakeLimits():
                    self._take_newest()
                case ApplyLimits() if self.applies_after and self.joined:
                    self.loop.later(self.applies_after, partial(self._apply, effect))
                case ApplyLimits():
                    self._apply(effect)
                case Renewed(seconds):
                    self.disk.heard = self.clock().wall - seconds
                case NodeLog(_, text):
                    self.lines.append((self._world.now, text))
        deadline = self.session.next_deadline()
        if deadline is not None:
            self.loop.arm(deadline, self._ring)

    def _take_newest(self) -> None:
        """As the agent does: restart for the newest limits when there is a turn, or none is needed."""
        newest = self._newest
        if newest is None:
            return
        restart = newest.limits != self.applied.limits and not self.gateway.out
        self._perform(self.session.limits_restart(restart, self.loop.now))
        if self.gateway.out or not self.session.duties.restarts.may:
            return  # it is looked at again
        self._newest = None
        if restart:
            self._later(self.gateway.go(self._chance), lambda: self._restarted_for(newest))
        else:
            self._apply(newest)

    def _look_again(self) -> None:
        if self._newest is not None:
            self.loop.later(LOOK_SECONDS, self._look_again)
            self._take_newest()

    def _restarted_for(self, newest: ApplyLimits) -> None:
        self.gateway.out = False
        self._apply(newest)

    def _apply(self, effect: ApplyLimits) -> None:
        self.applied = Applied(effect.source, effect.limits)
        self._perform(self.session.limits_applied(effect.version, effect.limits, self.loop.now))
        self.limits_changed()

    def _ring(self) -> None:
        self.session.counters = self.gateway.counters(self._world.now)
        self.session.served = self.gateway.served
        self._perform(self.session.tick(self.loop.now))

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        loop = self.loop
        self._world.after(seconds, lambda: loop.submit(work))

    def _stage(self, sha256: str, content: bytes, *, trial: bool) -> Callable[[], None]:
        def done() -> None:
            error = self.gateway.check(sha256, content, trial=trial)
            self._perform(self.session.staged(sha256, error, self.loop.now))

        return done

    def _change(self, sha256: str) -> Callable[[], None]:
        def done() -> None:
            self.gateway.counters(self._world.now)
            error = self.gateway.end(sha256)
            self._look_at_gateway()
            self._perform(self.session.changed(sha256, error, self.loop.now))

        return done

    def _drained(self, serial: int) -> None:
        self._perform(self.session.drained(serial, self.loop.now))

    def _restarted(self) -> None:
        self.gateway.out = False
        self._perform(self.session.restarted("", self.loop.now))

    def _look_at_gateway(self) -> None:
        self.session.gateway = self.gateway.kind
        configuration = self.session.duties.configuration
        configuration.managed = self.gateway.managed
        configuration.on_disk = configuration.running = self.gateway.on_disk

    def _connect(self, address: str) -> None:
        loop = self.loop
        host, _, port = address.rpartition(":")

        def connected(connection: Connection | None) -> None:
            if loop.ended and connection is not None:
                connection.close(0, None)
            if connection is not None:
                # What the manager says waits in the socket until the process reads it.
                connection.attach(
                    0,
                    lambda data: loop.submit(lambda: received(connection, data)),
                    lambda code: loop.submit(lambda: closed(connection, code)),
                )
            loop.submit(lambda: opened(connection))

        def opened(connection: Connection | None) -> None:
            if connection is None:
                self._perform(self.session.connect_failed("connection refused", loop.now))
                return
            self._connection = connection
            self._perform(self.session.connected(loop.now))

        def received(connection: Connection, data: bytes) -> None:
            message = decode(data)
            if self._connection is connection and message is not None:
                self._perform(self.session.received(message, loop.now))

        def closed(connection: Connection, code: int | None) -> None:
            if self._connection is connection:
                self._connection = None
                self._perform(self.session.closed(1006 if code is None else code, "", loop.now))

        self._network.connect(self.host, (host, int(port)), connected)
