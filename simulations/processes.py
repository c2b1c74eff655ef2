"""The shells of the simulation: thin, as the real ones are, around the very same cores and codecs."""

from dataclasses import dataclass, field
from itertools import count
from math import inf

from gossip.config import LAN, GossipConfig
from gossip.effects import Departed, OpenStream, Resolve, Send
from gossip.errors import WireError
from gossip.group import Group
from gossip.messages import Address, StreamMessage
from gossip.wire import StreamReader, decode_packet, encode_packet, encode_stream
from manager.core import TAG_HTTP_PORT, TAG_NODE_PORT, Manager
from manager.effects import CloseNode, Count, Log, ManagerEffect, Stop, ToNode
from manager.terms import ManagerConfig
from node.effects import ApplyLimits, Close, Connect, NodeState, Save
from node.effects import Effect as NodeEffect
from node.effects import Log as NodeLog
from node.effects import Send as SendToManager
from node.protocol import Limits, ProtocolError, decode, encode
from node.session import Joined, Session
from simulations.network import Connection, Network
from simulations.world import WALL_AT_START, World

GOSSIP_PORT = 7946
NODE_PORT = 7000


def read_stream(data: bytes) -> StreamMessage | None:
    """The message of a whole stream, None where it is none."""
    try:
        return StreamReader().feed(data)
    except WireError:
        return None


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
    ) -> None:
        self.name = name
        self.host = host
        self.peers = peers
        self.alive = False
        self.lines: list[tuple[float, str]] = []
        self._network = network
        self._world: World = network.world
        self._config = config
        self._gossip = gossip
        self._starts = 0
        self.core: Manager = self._start()

    def restart(self) -> None:
        """A new process of the same name and address, without any state."""
        self.kill()
        self.core = self._start()

    def kill(self) -> None:
        """SIGKILL: connections break, nothing is said."""
        if self.alive:
            self._end()
            for connection in list(self._connections.values()):
                connection.close(1, None)

    def stop(self) -> None:
        """SIGTERM."""
        self._perform(self.core.go(self._world.now, for_good=False))

    def set_max_nodes(self, max_nodes: int) -> None:
        self._perform(self.core.set_max_nodes(max_nodes, self._world.now))

    def _start(self) -> Manager:
        self._starts += 1
        self.alive = True
        self._connections: dict[int, Connection] = {}
        self._numbers = count(1)
        self._armed = inf
        now = self._world.now
        group = Group(
            name=self.name,
            address=Address(self.host, GOSSIP_PORT),
            group_name="krakend",
            tags={TAG_NODE_PORT: str(NODE_PORT), TAG_HTTP_PORT: "9897"},
            peers=self.peers,
            config=self._gossip,
            random=self._world.random(f"{self.name}/{self._starts}"),
            now=now,
            wall_offset=WALL_AT_START,
        )
        core = Manager(group, self._config, now)
        self._life = object()
        self._network.listen(self.host, GOSSIP_PORT, self._datagram, self._stream)
        self._network.serve(self.host, NODE_PORT, self._accept)
        self.core = core
        self._perform(core.tick(now))
        return core

    def _end(self) -> None:
        self.alive = False
        self._life = object()
        self._network.vanish(self.host)

    def _datagram(self, data: bytes, sender: tuple[str, int]) -> None:
        try:
            packet = decode_packet(data)
        except WireError as error:
            raise AssertionError(f"a member sent what no member can read: {error}") from error
        self._perform(self.core.packet_received(packet.messages, Address(*sender), self._world.now))

    def _stream(self, data: bytes) -> bytes | None:
        message = read_stream(data)
        if message is None:
            return None
        answer, effects = self.core.stream_received(message, self._world.now)
        self._perform(effects)
        return None if answer is None else encode_stream(answer)

    def _accept(self, connection: Connection, client: str) -> None:
        number = next(self._numbers)
        self._connections[number] = connection

        def receive(data: bytes) -> None:
            try:
                message = decode(data)
            except ProtocolError as error:
                raise AssertionError(f"a node sent what no manager can read: {error}") from error
            if self.alive and message is not None:
                self._perform(self.core.node_message(number, message, client, self._world.now))  # type: ignore[arg-type]

        def closed(code: int | None) -> None:
            self._connections.pop(number, None)
            if self.alive:
                self._perform(self.core.node_closed(number, code, self._world.now))

        connection.attach(1, receive, closed)

    def _perform(self, effects: list[ManagerEffect]) -> None:
        for effect in effects:
            match effect:
                case Send(address, messages, crc):
                    self._network.send(
                        (self.host, GOSSIP_PORT), (address.host, address.port), encode_packet(messages, crc)
                    )
                case OpenStream():
                    self._open(effect)
                case Resolve(peer):
                    self._resolve(peer)
                case ToNode(conn, message):
                    if conn in self._connections:
                        self._connections[conn].send(1, encode(message))
                case CloseNode(conn, code):
                    connection = self._connections.pop(conn, None)
                    if connection is not None:
                        connection.close(1, code)
                case Log(_, text):
                    self.lines.append((self._world.now, text))
                case Departed() | Stop():
                    self._end()
                    return
                case Count():
                    pass
        self._arm()

    def _open(self, effect: OpenStream) -> None:
        life = self._life

        def answered(data: bytes | None) -> None:
            if self._life is life and effect.answered:
                answer = None if data is None else read_stream(data)
                self._perform(self.core.stream_answered(effect.token, answer, self._world.now))

        target = (effect.address.host, effect.address.port)
        self._network.exchange(self.host, target, encode_stream(effect.message), effect.timeout, answered)

    def _resolve(self, peer: str) -> None:
        life = self._life
        host, _, port = peer.rpartition(":")

        def resolved() -> None:
            if self._life is life:
                self._perform(self.core.resolved(peer, [Address(host, int(port))], self._world.now))

        self._world.after(0.0, resolved)

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline >= self._armed:
            return
        self._armed = deadline
        life = self._life

        def ring() -> None:
            if self._life is life:
                self._armed = inf
                self._perform(self.core.tick(self._world.now))

        self._world.at(deadline, ring)


@dataclass(slots=True)
class Disk:
    """What a node has saved; it survives the node's process."""

    state: NodeState | None = None


@dataclass(slots=True)
class Applied:
    """The limits that a node's gateway works under."""

    source: str = ""
    limits: Limits = field(default_factory=dict)


class SimNode:
    """One node's agent, on a host of its own."""

    def __init__(
        self, network: Network, name: str, host: str, seeds: tuple[str, ...], disk: Disk | None = None
    ) -> None:
        self.name = name
        self.host = host
        self.disk = disk or Disk()
        self.alive = False
        self.applied = Applied()
        self.lines: list[tuple[float, str]] = []
        self._network = network
        self._world: World = network.world
        self._seeds = seeds
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

    def start(self) -> None:
        """A new process on the same disk."""
        self._starts += 1
        self.alive = True
        self._life = object()
        self._connection: Connection | None = None
        self._armed = inf
        rng = self._world.random(f"{self.host}/{self.name}/{self._starts}")
        self.session = Session(seeds=self._seeds, state=self.disk.state, rng=rng, name=self.name)
        self._perform(self.session.start(self._world.now))

    def kill(self) -> None:
        """SIGKILL: the connection's end is seen."""
        self.alive = False
        self._life = object()
        if self._connection is not None:
            self._connection.close(0, None)

    def stop(self) -> None:
        """SIGTERM."""
        self._perform(self.session.leave("stopped", self._world.now))
        self.alive = False
        self._life = object()

    def _perform(self, effects: list[NodeEffect]) -> None:
        for effect in effects:
            match effect:
                case Save(state):
                    self.disk.state = state
                case Connect(address):
                    self._connect(address)
                case SendToManager(message):
                    if self._connection is not None:
                        self._connection.send(0, encode(message))
                case Close(code):
                    if self._connection is not None:
                        self._connection.close(0, code)
                    self._connection = None
                case ApplyLimits(_, source, limits):
                    self.applied = Applied(source, limits)
                case NodeLog(_, text):
                    self.lines.append((self._world.now, text))
        self._arm()

    def _connect(self, address: str) -> None:
        life = self._life
        host, _, port = address.rpartition(":")

        def connected(connection: Connection | None) -> None:
            if self._life is not life:
                if connection is not None:
                    connection.close(0, None)
                return
            if connection is None:
                self._perform(self.session.connect_failed("connection refused", self._world.now))
                return
            self._connection = connection
            connection.attach(0, receive, closed)
            self._perform(self.session.connected(self._world.now))

        def receive(data: bytes) -> None:
            message = decode(data)
            if self._life is life and message is not None:
                self._perform(self.session.received(message, self._world.now))

        def closed(code: int | None) -> None:
            if self._life is life:
                self._connection = None
                self._perform(self.session.closed(1006 if code is None else code, "", self._world.now))

        self._network.connect(self.host, (host, int(port)), connected)

    def _arm(self) -> None:
        deadline = self.session.next_deadline()
        if deadline is None or deadline >= self._armed:
            return
        self._armed = deadline
        life = self._life

        def ring() -> None:
            if self._life is life:
                self._armed = inf
                self._perform(self.session.tick(self._world.now))

        self._world.at(deadline, ring)
