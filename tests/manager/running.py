"""A manager's core with nodes and members, and the operations that the API needs around it."""

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from random import Random
from ssl import SSLContext

from aiohttp import ClientSession

from gossip.effects import JoinTried, KeysDone, OpenStream, Reached, Resolve, Send
from gossip.group import Group
from gossip.key_messages import Verb
from gossip.kinship import LEDGER_PROTOCOL, TAG_GROUP, TAG_SPEAKS
from gossip.messages import OUR_VERSIONS, Ack, Address, Alive, Dead, Message, Ping
from gossip.wire import Keyring, encode_tags
from manager.checks import Facts
from manager.core import Manager
from manager.doors import HttpDoor
from manager.effects import ManagerEffect, ToNode, TrialDone
from manager.identity import Identity
from manager.limits.sharing import Sharing
from manager.liveness import TAG_HTTP_PORT, TAG_NODE_PORT
from manager.rollout.configs import Manner
from manager.rollout.orders import Action, Order
from manager.terms import ManagerConfig
from node.protocol import Hello, Limit, Limits, LimitsPush, ManagerMessage, NodeMessage, Report, Welcome

IDENTITY = Identity("blue", "")
WALL = 1_800_000_000.0
"""Seconds since 1970 when these managers' time is 0."""


class Running:
    """Manager m1 of group blue: `Operations` over a real core, whose time only `wait` moves.

    No name of its `peers` resolves.
    """

    def __init__(
        self,
        config: ManagerConfig | None = None,
        *,
        peers: tuple[str, ...] = (),
        http: ClientSession | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        group = Group(
            name="m1",
            address=Address("10.0.0.1", 7946),
            group_name="blue",
            tags={TAG_NODE_PORT: "7000", TAG_HTTP_PORT: "9897"},
            peers=peers,
            random=Random(1),
            now=0.0,
            wall_offset=WALL,
            keyring=keyring,
        )
        self.core = Manager(group, config or ManagerConfig(), 0.0)
        self.door = HttpDoor()
        self.peers_token = ""
        self.to_peers: SSLContext | None = None
        self.not_kept = ""
        self.certificate_days_left: float | None = None
        self.counts: Counter[tuple[str, str]] = Counter()
        self.left: list[bool] = []
        """For good or not, each time it was told to leave."""
        self.kept: bytes | None = None
        """What a snapshot of it is."""
        self.hear: set[str] = set()
        """Members that answer pings by UDP; none does by TCP."""
        self.nowhere: set[str] = {"nowhere"}
        """Names that are not known."""
        self.limits_of: dict[int, Limits] = {}
        """What each node was told last."""
        self.heard: list[tuple[int, ManagerMessage]] = []
        """What nodes were told, with the number of each."""
        self._http = http
        self._now = 0.0
        self._reports = 0
        self._tick()

    def _tick(self) -> None:
        self._perform(self.core.tick(self._now))

    def _perform(self, effects: list[ManagerEffect]) -> None:
        for effect in effects:
            if isinstance(effect, ToNode):
                self.heard.append((effect.conn, effect.message))
            match effect:
                case Resolve(peer):
                    self._perform(self.core.resolved(peer, [], self._now))
                case ToNode(conn, Welcome(limits_follow=True)):
                    pass
                case ToNode(conn, Welcome(limits_version=version, limits=limits)):
                    self._take(conn, version, limits)
                case ToNode(conn, LimitsPush(version=version, limits=limits)):
                    self._take(conn, version, limits)
                case _:
                    pass

    def _take(self, conn: int, version: int, limits: Limits) -> None:
        """A gateway that takes what it is told at once."""
        self.limits_of[conn] = limits
        self._reports += 1
        self.says(conn, Report(number=self._reports, limits_version=version))

    @property
    def http(self) -> ClientSession:
        assert self._http is not None
        return self._http

    def now(self) -> float:
        return self._now

    def count(self, where: str, reason: str) -> None:
        self.counts[where, reason] += 1

    async def note_change(self, who: str, change: str, status: int) -> None:
        self._perform(self.core.operator.note_change(who, change, status, self._now))

    async def set_max_nodes(self, max_nodes: int) -> None:
        self._perform(self.core.operator.set_max_nodes(max_nodes, self._now))

    async def set_limit(self, name: str, limit: Limit | None, sharing: Sharing) -> None:
        self._perform(self.core.operator.set_limit(name, limit, sharing, self._now))

    async def install(self, text: str, source: str) -> None:
        self._perform(self.core.operator.install(text, source, self._now))

    def ask_issuer(self) -> None:
        self._perform(self.core.operator.ask_issuer(self._now))

    async def change_keys(self, verb: Verb, key: str, without: Iterable[str]) -> KeysDone:
        [done] = [
            effect
            for effect in self.core.operator.change_keys(verb, key, without, self._now)
            if isinstance(effect, KeysDone)
        ]
        return done

    async def expel(self, name: str) -> None:
        self._perform(self.core.operator.expel(name, self._now))

    async def forget_node(self, id_: str) -> None:
        self._perform(self.core.operator.forget_node(id_, self._now))

    async def force_leave(self, name: str, by: str, *, prune: bool) -> None:
        self._perform(self.core.operator.force_leave(name, by, self._now, prune=prune))

    async def join(self, peer: str) -> dict[str, JoinTried]:
        host, _, port = peer.rpartition(":")
        if host in self.nowhere or not port.isdigit():
            return {}
        token, done = self.core.operator.join(Address(host, int(port)), self._now)
        if any(isinstance(effect, OpenStream) for effect in done):
            done = self.core.stream_answered(token, None, self._now, "connection refused")
        [tried] = [effect for effect in done if isinstance(effect, JoinTried)]
        return {peer: tried}

    async def reach(self) -> Reached:
        effects = self.core.operator.reach(self._now)
        for effect in [*effects]:
            if isinstance(effect, OpenStream):
                effects += self.core.stream_answered(effect.token, None, self._now, "connection refused")
            elif isinstance(effect, Send):
                for ping in effect.messages:
                    if isinstance(ping, Ping) and ping.target in self.hear:
                        effects += self.core.packet_received([Ack(ping.number)], effect.address, self._now)
        while not any(isinstance(effect, Reached) for effect in effects):
            self._now = max(self._now, self.core.next_deadline())
            effects += self.core.tick(self._now)
        return next(effect for effect in effects if isinstance(effect, Reached))

    async def order_node(self, id_: str, action: Action, by: str) -> Order:
        order, effects = self.core.operator.order_node(id_, action, by, self._now)
        self._perform(effects)
        return order

    async def examine(self) -> Facts:
        return Facts("10.0.0.1:7946", True, "", {"m2": ("10.0.0.2:7946",)}, (), True, self.counts, None, "")

    async def push_config(self, kind: str, content: bytes, by: str, manner: Manner, *, force: bool) -> None:
        self._perform(self.core.operator.push_config(kind, content, by, manner, self._now, force=force))

    async def roll_back_config(self, kind: str, number: int | None, by: str, manner: Manner) -> None:
        self._perform(self.core.operator.roll_back_config(kind, number, by, manner, self._now))

    async def steer_rollout(self, kind: str, action: str, by: str) -> None:
        self._perform(self.core.operator.steer_rollout(kind, action, by, self._now))

    async def try_config(self, kind: str, content: bytes) -> TrialDone:
        number, effects = self.core.operator.try_config(kind, sha256(content).hexdigest(), content, self._now)
        self._perform(effects)
        return TrialDone(number, "a node", "" if content != b"bad" else "it says so")

    async def snapshot(self) -> bytes | None:
        return self.kept

    def leave(self, *, for_good: bool) -> None:
        self.left.append(for_good)
        self.core.go(self._now, for_good=for_good)

    # What happens to it

    def wait(self, seconds: float) -> None:
        end = self._now + seconds
        while self.core.next_deadline() <= end:
            self._now = max(self._now, self.core.next_deadline())
            self._tick()
        self._now = end

    def hears(self, *messages: Message) -> None:
        self.core.packet_received(messages, Address("10.0.0.9", 7946), self._now)

    def meets(self, name: str, host: str, tags: dict[str, str] | None = None) -> None:
        """Member `name` at `host` comes up; a manager of this group where no `tags` are given."""
        ours = {TAG_SPEAKS: LEDGER_PROTOCOL, TAG_GROUP: "blue", TAG_NODE_PORT: "7000", TAG_HTTP_PORT: "9897"}
        meta = encode_tags(ours if tags is None else tags)
        self.hears(Alive(name, 1, Address(host, 7946), meta, OUR_VERSIONS))

    def loses(self, name: str) -> None:
        self.hears(Dead(name, 1, "m9"))

    def node(self, number: int, name: str | None = None) -> str:
        """Node `number` says hello on the connection of that number; gives its id."""
        key = number.to_bytes(32)
        said = Hello(key=key, incarnation=1, nonce=7, name=f"n{number}" if name is None else name)
        self.says(number, said)
        return IDENTITY.id_of(key)

    def says(self, number: int, message: NodeMessage) -> None:
        self._perform(self.core.node_message(number, message, f"10.1.0.{number}", self._now))

    def hang_up(self, number: int) -> None:
        self._perform(self.core.node_closed(number, None, self._now))
