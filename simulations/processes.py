"""The shell of a simulated manager: thin, as the real one is, around the very same cores and codecs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeAlias

from gossip.config import LAN, GossipConfig
from gossip.effects import Departed, JoinTried, KeysDone, OpenStream, Reached, Resolve, SaveKeyring, Send
from gossip.errors import ForceLeaveRefused, WireError
from gossip.group import Group
from gossip.memory import NO_MEMORY
from gossip.messages import Ack, Address, Dead, StreamMessage
from gossip.wire import StreamReader, decode_packet, encode_packet, encode_stream
from gossip.wire.bodies import CRC
from manager.core import Manager
from manager.disk.commits import Commits, waits_for_nothing
from manager.effects import (
    AskIssuer,
    CloseNode,
    Count,
    FetchContent,
    Log,
    ManagerEffect,
    Persist,
    Stop,
    ToNode,
    TrialDone,
)
from manager.liveness import TAG_HTTP_PORT, TAG_NODE_PORT
from manager.records import Setting
from manager.rollout.configs import Manner
from manager.rollout.orders import OrderError
from manager.rollout.plan import PlanError
from manager.seats.vouching import RightsError
from manager.subscription.documents import DocumentError
from manager.terms import SUBSCRIPTION, ManagerConfig
from node.protocol import CLOSE_GOING
from simulations.disk import ManagerDisk
from simulations.door import NodeDoor
from simulations.loop import CLOCK_JUMP, CLOCK_WATCHED_EVERY, Loop
from simulations.network import Network
from simulations.world import World

GOSSIP_PORT = 7946
NODE_PORT = 7000
HTTP_PORT = 9897
FETCH_SECONDS_MAX = 5.0
STOP_SECONDS_MAX = 9.0
READ_CLOSELY = 16
"""Of so many datagrams one is read closely: it must be what its messages make."""
ISSUER_SECONDS = 0.2
_REFUSALS = (RightsError, PlanError, OrderError, DocumentError, ForceLeaveRefused, ValueError, KeyError)
"""What a manager answers an operator with where it does not do what it is told."""

Ending: TypeAlias = Literal["killed", "overdue", "departed", "conflict"]
"""`overdue`: it was told to stop, and did not within its time."""


class Observer(Protocol):
    """Sees all that managers do; a checker raises where it must not be."""

    def started(self, manager: "SimManager") -> None:
        """`manager` has a new process, which has done nothing yet."""

    def turned(self, manager: "SimManager") -> None:
        """`manager` has handled an input, and its effects are carried out."""

    def sent(self, manager: "SimManager", effect: Send | OpenStream | ToNode) -> None:
        """`manager` sends it."""

    def answered(self, manager: "SimManager", answer: StreamMessage) -> None:
        """`manager` answers a stream with it."""

    def acked(self, manager: "SimManager", number: int) -> None:
        """`manager` has got the answer to its ping of that number, and not read it yet."""

    def reminded(self, manager: "SimManager", member: str) -> None:
        """`manager` is told that it has given `member` up, and has not read it yet."""

    def operated(self, manager: "SimManager", setting: Setting) -> None:
        """An operator told `manager` so."""

    def granted(self, text: str) -> None:
        """A trusted issuer has signed that subscription for the group."""

    def ended(self, manager: "SimManager", how: Ending) -> None:
        """The process of `manager` is no more."""


def read_stream(data: bytes) -> StreamMessage | None:
    """The message of a whole stream, None where it is none."""
    try:
        return StreamReader().feed(data)
    except WireError:
        return None


@dataclass(frozen=True, slots=True)
class _Answer:
    """`reply` with it, once what the turn wrote is on disk."""

    reply: Callable[[bytes | None], None]
    message: StreamMessage | None


_Item: TypeAlias = ManagerEffect | _Answer


class SimManager:
    """One manager process on a host of its own, whose name is its IP address."""

    def __init__(
        self,
        network: Network,
        name: str,
        host: str,
        peers: tuple[str, ...],
        config: ManagerConfig,
        gossip: GossipConfig = LAN,
        *,
        group_name: str = "krakend",
        rate: float = 1.0,
        skew: float = 0.0,
        lag: float = 0.0,
        observer: Observer | None = None,
        disk: ManagerDisk | None = None,
    ) -> None:
        """`rate` and `skew` are those of the host's clocks, `lag` is its loop's.

        Without a `disk` it keeps nothing.
        """
        self.name = name
        self.names = [name]
        """All that its host's manager ever had, the present one last."""
        self.host = host
        self.peers = peers
        self.group_name = group_name
        self.alive = False
        self.conflicting = False
        """Whether it ended because another process of its name lives."""
        self.skew = skew
        self.set_back = False
        """Whether its host's clock ever went back."""
        self.gone = False
        """Whether it never starts again: an operator has vouched for that."""
        self.starts = 0
        self.started = 0.0
        self._datagrams = 0
        self.issuer: Callable[[], str] = lambda: ""
        """What the subscription's issuer gives when it is asked; nothing where it does not answer."""
        self.lines: list[tuple[float, str]] = []
        self._network = network
        self._world: World = network.world
        self._config = config
        self.gossip = gossip
        self._rate = rate
        self._lag = lag
        self._observer = observer
        self.disk = disk
        self.core: Manager = self._start()

    def restart(self) -> None:
        """A new process of the same name and address, with what is on its disk, if it has one."""
        self.kill()
        if not self.gone and (self.disk is None or not self.disk.full):
            self.core = self._start()

    def move(self, host: str) -> None:
        """The host is replaced by another: a new process of the same name, at another address."""
        self.kill()
        self.host = host
        self.core = self._start()

    def rename(self, name: str) -> None:
        """The host's manager is set up anew: a process of another name at this address."""
        self.kill()
        self.name = name
        self.names.append(name)
        if self.disk is not None:
            self.disk = ManagerDisk(self._world, f"{self.host}/{name}")
        self.core = self._start()

    def kill(self) -> None:
        """SIGKILL: connections break, nothing is said."""
        if self.alive:
            self._end(None, "killed")

    def power_off(self) -> None:
        """The host is gone, without a word."""
        if self.alive:
            self._gone("killed")
            self.loop.end()
            self._crash_disk()
            self._network.vanish(self.host, dark=True)
            self._door.vanish()

    def stop(self) -> None:
        """SIGTERM."""

        def go() -> None:
            self.loop.later(STOP_SECONDS_MAX, lambda: self._end(CLOSE_GOING, "overdue"))
            self._perform(self.core.go(self.loop.now, for_good=False))

        self.loop.submit(go)

    def set_max_nodes(self, max_nodes: int) -> None:
        """An operator's word."""

        def set_() -> None:
            try:
                effects = self.core.operator.set_max_nodes(max_nodes, self.loop.now)
            except DocumentError:
                return
            setting = self.core.settings.get(SUBSCRIPTION)
            if self._observer is not None and setting is not None:
                self._observer.operated(self, setting)
            self._perform(effects)

        self.loop.submit(set_)

    def install(self, text: str) -> None:
        """An operator brings a signed subscription, which is right."""
        if self._observer is not None:
            self._observer.granted(text)
        self._operate(lambda now: self.core.operator.install(text, "an operator", now))

    def push_config(self, kind: str, content: bytes, manner: Manner) -> None:
        """An operator pushes a configuration."""
        self._operate(
            lambda now: self.core.operator.push_config(kind, content, "operator", manner, now, force=True)
        )

    def steer_rollout(self, kind: str, action: str) -> None:
        """An operator pauses, resumes, promotes or aborts a rollout."""
        self._operate(lambda now: self.core.operator.steer_rollout(kind, action, "operator", now))

    def _operate(self, what: Callable[[float], list[ManagerEffect]]) -> None:
        self.loop.submit(lambda: self._perform(what(self.loop.now)))

    def operate(self, action: Callable[[Manager, float], list[ManagerEffect]]) -> None:
        """An operator has the core do something; what it refuses is not done."""

        def act() -> None:
            try:
                effects = action(self.core, self.loop.now)
            except _REFUSALS:
                return
            self._perform(effects)

        self.loop.submit(act)

    def set_clock(self, skew: float) -> None:
        """Set the host's wall clock; the process finds out within a second."""
        self.set_back = self.set_back or skew < self.skew
        self.skew = self.loop.skew = skew
        self.loop.later(self._chance.uniform(0.0, CLOCK_WATCHED_EVERY), self._watch_clock)

    def _start(self) -> Manager:
        self.starts += 1
        self.alive = True
        self.conflicting = False
        self.started = self._world.now
        self._turn_ends = False
        """Whether it does so soon."""
        self._chance = self._world.random(f"{self.host}/{self.name}/{self.starts}/loop")
        self.loop = Loop(self._world, self._chance, self._rate, self.skew, self._lag)
        self._door = NodeDoor(self.loop, lambda: self.core, self._end_turn_soon)
        self._clock_offset = self.loop.wall_offset
        group = Group(
            name=self.name,
            address=Address(self.host, GOSSIP_PORT),
            group_name=self.group_name,
            tags={TAG_NODE_PORT: str(NODE_PORT), TAG_HTTP_PORT: str(HTTP_PORT)},
            peers=self.peers,
            config=self.gossip,
            random=self._world.random(f"{self.host}/{self.name}/{self.starts}"),
            now=self.loop.now,
            wall_offset=self._clock_offset,
            memory=NO_MEMORY if self.disk is None else self.disk.saved.memory(self.name),
        )
        saved = None if self.disk is None else self.disk.saved
        core = Manager(group, self._config, self.loop.now, saved)
        self._commits: Commits[_Item] = Commits(lambda item: waits_for_nothing(item, self.name))
        self._network.listen(self.host, GOSSIP_PORT, self._datagram, self._stream)
        self._network.listen(self.host, HTTP_PORT, lambda data, sender: None, self._give_content)
        self._network.serve(self.host, NODE_PORT, self._door.accept)
        self.core = core
        if self._observer is not None:
            self._observer.started(self)
        if self._rate != 1.0:
            self._watch_clock_for_ever()
        self._perform(core.tick(self.loop.now))
        return core

    @property
    def waits_for_disk(self) -> bool:
        """Whether it holds something back until its disk has it."""
        return self._commits._under_way is not None

    def _crash_disk(self) -> None:
        if self.disk is not None:
            self.disk.crash()

    def _gone(self, how: Ending) -> None:
        self.alive = False
        if self._observer is not None:
            self._observer.ended(self, how)

    def _end(self, code: int | None, how: Ending) -> None:
        self._gone(how)
        self.loop.end()
        self._crash_disk()
        self._network.vanish(self.host)
        self._door.end(code)

    def _watch_clock(self) -> None:
        offset = self.loop.wall_offset
        if abs(offset - self._clock_offset) > CLOCK_JUMP:
            self._clock_offset = offset
            self.core.adjust_clock(offset)

    def _watch_clock_for_ever(self) -> None:
        self._watch_clock()
        self.loop.later(CLOCK_WATCHED_EVERY, self._watch_clock_for_ever)

    def _datagram(self, data: bytes, sender: tuple[str, int]) -> None:
        def handle() -> None:
            try:
                packet = decode_packet(data)
            except WireError as error:
                raise AssertionError(f"a member sent what no member can read: {error}") from error
            if self._observer is not None:
                for message in packet.messages:
                    if type(message) is Ack:
                        self._observer.acked(self, message.number)
                    elif type(message) is Dead and message.accuser == self.name:
                        self._observer.reminded(self, message.node)
            if packet.rejected:
                raise AssertionError(f"a member sent what no member can read: {', '.join(packet.rejected)}")
            self._datagrams += 1
            if not self._datagrams % READ_CLOSELY and encode_packet(packet.messages, data[0] == CRC) != data:
                raise AssertionError("a member sent more than what its packet says")
            self.core.packet_received(packet.messages, Address(*sender), self.loop.now, more=True)
            self._end_turn_soon()

        self.loop.submit(handle, "datagram")

    def _stream(self, data: bytes, reply: Callable[[bytes | None], None]) -> None:
        def handle() -> None:
            message = read_stream(data)
            if message is None:
                raise AssertionError("a member sent by TCP what no member can read")
            answer, effects = self.core.stream_received(message, self.loop.now)
            self._perform(effects, _Answer(reply, answer))

        self.loop.submit(handle)

    def _end_turn_soon(self) -> None:
        """Once for all that the sockets have now, as the real shell does."""
        if not self._turn_ends:
            self._turn_ends = True
            self.loop.soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_ends = False
        self._perform(self.core.end_turn(self.loop.now))

    def _perform(self, effects: list[ManagerEffect], *answers: "_Answer") -> None:
        if self.disk is None:
            self._carry_out([*effects, *answers])
        else:
            self._carry_out(self._commits.put([*effects, *answers]))
            self._commit()
        if self.alive:
            if self._observer is not None:
                self._observer.turned(self)
            self.loop.arm(self.core.next_deadline(), self._ring)

    def _commit(self) -> None:
        if self.alive and self.disk is not None and self._commits.due:
            loop = self.loop
            # What the disk says waits for a process that is stopped or busy, as all else.
            self.disk.write(
                self._commits.begin(),
                lambda: loop.submit(self._committed),
                lambda: loop.submit(lambda: self._end(None, "killed")),
            )

    def _committed(self) -> None:
        self._carry_out(self._commits.done())
        self._commit()

    def _carry_out(self, items: "Sequence[_Item]") -> None:
        for effect in items:
            match effect:
                case Send(address, messages, crc):
                    if self._observer is not None:
                        self._observer.sent(self, effect)
                    source, target = (self.host, GOSSIP_PORT), (address.host, address.port)
                    data = encode_packet(messages, crc)
                    self.loop.emit(partial(self._network.send, source, target, data))
                case OpenStream():
                    if self._observer is not None:
                        self._observer.sent(self, effect)
                    self.loop.emit(partial(self._open, effect))
                case Resolve(peer):
                    self._resolve(peer)
                case ToNode(conn, message):
                    if self._door.is_open(conn):
                        if self._observer is not None:
                            self._observer.sent(self, effect)
                        self._door.send(conn, message)
                case CloseNode(conn, code):
                    self._door.close(conn, code)
                case Log(_, text):
                    self.lines.append((self._world.now, text))
                case SaveKeyring() | KeysDone() | Reached():
                    raise AssertionError("no simulated operator asks for that")
                case Departed() | Stop():
                    self.conflicting = isinstance(effect, Stop)
                    self._end(CLOSE_GOING, "conflict" if self.conflicting else "departed")
                    return
                case FetchContent(sha256):
                    self._fetch_content(sha256)
                case AskIssuer():
                    self.loop.later(ISSUER_SECONDS, self._issuer_answered)
                case Count() | Persist() | TrialDone() | JoinTried():
                    pass
                case _Answer(reply, answer):
                    if self._observer is not None and answer is not None:
                        self._observer.answered(self, answer)
                    reply(None if answer is None else encode_stream(answer))

    def _ring(self) -> None:
        self._perform(self.core.tick(self.loop.now))

    def _open(self, effect: OpenStream) -> None:
        loop = self.loop

        def answered(data: bytes | None) -> None:
            if effect.answered:
                loop.submit(lambda: self._answered(effect.token, data))

        target = (effect.address.host, effect.address.port)
        timeout = effect.timeout / self._rate
        self._network.exchange(self.host, target, encode_stream(effect.message), timeout, answered)

    def _issuer_answered(self) -> None:
        if text := self.issuer():
            self._perform(self.core.issuer_answered(text, self.loop.now))

    def _give_content(self, sha256: bytes, reply: Callable[[bytes | None], None]) -> None:
        self.loop.submit(lambda: reply(self.core.configs.content(sha256.decode())))

    def _fetch_content(self, sha256: str) -> None:
        loop = self.loop
        others = sorted(member.address.host for member in self.core.group.kin())

        def got(data: bytes | None) -> None:
            loop.submit(lambda: self._perform(self.core.content_fetched(data, loop.now)))

        if not others:
            got(None)
            return
        target = (self._chance.choice(others), HTTP_PORT)
        self._network.exchange(self.host, target, sha256.encode(), FETCH_SECONDS_MAX, got)

    def _answered(self, token: int, data: bytes | None) -> None:
        answer = None if data is None else read_stream(data)
        if isinstance(answer, Ack) and self._observer is not None:
            self._observer.acked(self, answer.number)
        self._perform(self.core.stream_answered(token, answer, self.loop.now))

    def _resolve(self, peer: str) -> None:
        host, _, port = peer.rpartition(":")
        addresses = [Address(host, int(port))]
        loop = self.loop
        self._world.after(
            0.0,
            lambda: loop.submit(lambda: self._perform(self.core.resolved(peer, addresses, self.loop.now))),
        )
