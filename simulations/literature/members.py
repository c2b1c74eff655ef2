"""Members without managers: membership alone, as the papers measure it."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from math import inf

from gossip.config import GossipConfig
from gossip.effects import MemberChanged, OpenStream, Output, Resolve, Send
from gossip.messages import Address, PushPull, State, StreamMessage
from gossip.swim import Swim
from gossip.wire import decode_packet, encode_packet, encode_stream
from simulations.network import Network
from simulations.processes import GOSSIP_PORT, read_stream
from simulations.world import WALL_AT_START, World

START_AFTER = 0.05
"""Seconds from the start of one to that of the next."""
SEEN_WITHIN = 90.0
"""Who joins once may have to wait for a push/pull until it knows all."""

Changed = Callable[["Member", MemberChanged], None]


class Member:
    """One process on a host of its own; `changed(member, change)` hears what it holds of others.

    While it is blocked it stands before its next send or behind its next receive, and all that it would
    do waits: its timers become due, what it is sent stays in its sockets. When it goes on, what it stood
    before comes first, then the timers, then what has come.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        host: str,
        peers: tuple[str, ...],
        config: GossipConfig,
        changed: Changed,
    ) -> None:
        self.name = name
        self.host = host
        self._network = network
        self._world: World = network.world
        self._changed = changed
        self._blocked = False
        self._stands = False
        """Whether it is blocked, and has come to a send or a receive."""
        self._unsent: list[Callable[[], None]] = []
        self._held: list[Callable[[], None]] = []
        self._armed = inf
        self.core = Swim(
            name=name,
            address=Address(host, GOSSIP_PORT),
            meta=b"",
            incarnation=int(WALL_AT_START + self._world.now),
            came_later=lambda meta: False,
            wall=lambda now: WALL_AT_START + now,
            group_of=lambda meta: None,
            tokens=count(1),
            peers=peers,
            config=config,
            random=self._world.random(name),
            now=self._world.now,
        )
        network.listen(host, GOSSIP_PORT, self._datagram, self._stream)
        self.core.announce()
        self._perform(self.core.tick(self._world.now))

    def sees(self, name: str) -> State | None:
        """What it holds of `name`."""
        member = self.core.members.get(name)
        return None if member is None else member.state

    def block(self) -> None:
        """Stand still at the next send or receive."""
        self._blocked = True

    def release(self) -> None:
        """Go on."""
        self._blocked = self._stands = False
        unsent, self._unsent = self._unsent, []
        held, self._held = self._held, []
        for send in unsent:
            send()
        self._ring()
        for handle in held:
            handle()

    def _receive(self, handle: Callable[[], None]) -> None:
        if self._blocked:
            self._stands = True
            self._held.append(handle)
        else:
            handle()

    def _emit(self, send: Callable[[], None]) -> None:
        if self._blocked:
            self._stands = True
            self._unsent.append(send)
        else:
            send()

    def _perform(self, output: Iterable[Output]) -> None:
        for item in output:
            match item:
                case Send():
                    self._emit(partial(self._send, item))
                case OpenStream():
                    self._emit(partial(self._open, item))
                case Resolve(peer):
                    self._resolve(peer)
                case MemberChanged():
                    self._changed(self, item)
                case _:
                    pass
        deadline = self.core.next_deadline()
        if deadline < self._armed:
            self._armed = deadline
            self._world.at(deadline, self._ring)

    def _ring(self) -> None:
        if self._armed <= self._world.now and not self._stands:
            self._armed = inf
            self._perform(self.core.tick(self._world.now))

    def _send(self, effect: Send) -> None:
        target = (effect.address.host, effect.address.port)
        self._network.send((self.host, GOSSIP_PORT), target, encode_packet(effect.messages, effect.crc))

    def _datagram(self, data: bytes, sender: tuple[str, int]) -> None:
        self._receive(lambda: self._received(data, Address(*sender)))

    def _received(self, data: bytes, sender: Address) -> None:
        output: list[Output] = []
        for message in decode_packet(data).messages:
            output += self.core.receive(message, sender, self._world.now)
        self._perform(output)

    def _stream(self, data: bytes, reply: Callable[[bytes | None], None]) -> None:
        message = read_stream(data)
        assert message is not None, "a member sent by TCP what no member can read"
        self._receive(lambda: self._answer(message, reply))

    def _answer(self, message: StreamMessage, reply: Callable[[bytes | None], None]) -> None:
        if isinstance(message, PushPull):
            table, output = self.core.table_received(message, self._world.now)
            self._perform(output)
            answer: StreamMessage | None = table
        else:
            answer = self.core.ping_received(message)
        self._emit(lambda: reply(None if answer is None else encode_stream(answer)))

    def _open(self, effect: OpenStream) -> None:
        def answered(data: bytes | None) -> None:
            answer = None if data is None else read_stream(data)
            self._receive(
                lambda: self._perform(self.core.stream_answered(effect.token, answer, self._world.now))
            )

        target = (effect.address.host, effect.address.port)
        self._network.exchange(self.host, target, encode_stream(effect.message), effect.timeout, answered)

    def _resolve(self, peer: str) -> None:
        host, _, port = peer.rpartition(":")
        addresses = [Address(host, int(port))]
        self._world.after(
            0.0,
            lambda: self._receive(
                lambda: self._perform(self.core.resolved(peer, addresses, self._world.now))
            ),
        )


class Members:
    """A group of them that has settled, and the deaths that they told of."""

    def __init__(self, network: Network, size: int, config: GossipConfig, settle: float) -> None:
        """Lets them start, and `settle` seconds pass, or as many as it takes until all see all."""
        self.world: World = network.world
        self.deaths: list[tuple[float, str, str]] = []
        """When, who says so, of whom."""
        self.returns: list[tuple[float, str, str]] = []
        """The same for those who are alive again."""
        hosts = [f"10.0.{at // 250}.{at % 250 + 1}" for at in range(size)]
        first = f"{hosts[0]}:{GOSSIP_PORT}"
        self.all: list[Member] = []
        for at, host in enumerate(hosts):
            peers = (first,) if at else ()
            self.all.append(Member(network, f"m{at + 1}", host, peers, config, self._note))
            self.world.run_for(START_AFTER)
        self.world.run_for(settle)
        self.world.run_until(self._all_seen, SEEN_WITHIN, "all see each other")
        self.deaths.clear()

    def _all_seen(self) -> bool:
        return all(one.sees(other.name) is State.ALIVE for one in self.all for other in self.all)

    def _note(self, member: Member, change: MemberChanged) -> None:
        if change.after is State.DEAD:
            self.deaths.append((self.world.now, member.name, change.name))
        elif change.before is State.DEAD:
            self.returns.append((self.world.now, member.name, change.name))
