"""Many nodes in one process: the programs' own session and connection, and a log of the seats they held."""

import asyncio
from math import inf
from random import Random

from aiohttp import ClientSession

from node.clock import HostClock
from node.codec import decode, encode
from node.effects import ApplyLimits, Close, Connect, Effect, NodeState, Save, Send
from node.endings import CLOSE_NORMAL
from node.link import Link
from node.protocol import LimitsPush, Welcome
from node.session import Session

_CLOCK = HostClock()


class Held:
    """When who held a seat, as the nodes were told; read it when all is over."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, begins: float, ends: float) -> None:
        """A seat was held by one node from `begins` until before `ends`."""
        if begins < ends:
            self._spans.append((begins, ends))

    @staticmethod
    def now() -> float:
        """The clock of all times here."""
        return _CLOCK().running

    def most(self, begins: float = -inf, ends: float = inf) -> int:
        """How many were held at one moment from `begins` until `ends`, at the most."""
        spans = [(max(a, begins), min(b, ends)) for a, b in self._spans if a < ends and b > begins]
        changes = sorted([(at, 1) for at, _ in spans] + [(at, -1) for _, at in spans])
        held = highest = 0
        for _, change in changes:
            held += change
            highest = max(highest, held)
        return highest


class NodeSession:
    """One node. Under policy `strict` it holds a seat while its ticket lives, else while it is let in."""

    def __init__(
        self, http: ClientSession, name: str, seeds: list[str], held: Held, *, ephemeral: bool
    ) -> None:
        self._http, self._name, self._seeds, self._held = http, name, seeds, held
        self._ephemeral = ephemeral
        self._state: NodeState | None = None
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._since: float | None = None
        """Since when it holds a seat."""
        self.start()

    @property
    def seated(self) -> bool:
        """Whether it holds a seat now."""
        life = None if self._state is None else self._state.life
        return self._since is not None and (life is None or life.left(_CLOCK()) > 0)

    def start(self) -> None:
        """A process begins, from what is on its disk."""
        self._session = Session(
            seeds=self._seeds,
            state=self._state,
            rng=Random(),
            clock=_CLOCK,
            name=self._name,
            ephemeral=self._ephemeral,
        )
        self._perform(self._session.start(self._now()))

    def kill(self) -> None:
        """The process ends without a word; its ticket, if that has an end, lives on."""
        if self._timer is not None:
            self._timer.cancel()
        self._drop_link(CLOSE_NORMAL)
        self._let_in(False)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # What a link tells

    def link_connected(self, link: Link, remote: str) -> None:
        if link is self._link:
            self._perform(self._session.connected(self._now(), remote))

    def link_failed(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._link = None
            self._perform(self._session.connect_failed(reason, self._now()))

    def link_received(self, link: Link, frame: bytes) -> None:
        message = decode(frame)
        if link is self._link and message is not None:
            if isinstance(message, Welcome | LimitsPush):
                self._let_in(not message.over_limit)
            self._perform(self._session.received(message, self._now()))

    def link_closed(self, link: Link, code: int, reason: str) -> None:
        if link is self._link:
            self._link = None
            self._let_in(False)
            self._perform(self._session.closed(code, reason, self._now()))

    # What is to be done

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Connect(address):
                    self._link = Link(self._http, address, self)
                case Send(message) if self._link is not None:
                    self._link.send(encode(message))
                case Close(code):
                    self._drop_link(code)
                    self._let_in(False)
                case Save(state):
                    self._save(state)
                    self._session.saved()
                case ApplyLimits(version, _, limits):
                    self._perform(self._session.limits_applied(version, limits, self._now()))
                case _:
                    pass
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._session.next_deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._perform(self._session.tick(self._now()))

    def _drop_link(self, code: int) -> None:
        if self._link is not None:
            closing = self._link.close(code, "")
            self._link = None
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    # What is noted

    def _let_in(self, seated: bool) -> None:
        if self._state is None or self._state.life is None:
            self._note(seated)

    def _save(self, state: NodeState) -> None:
        before, self._state = self._state, state
        if before is not None and before.life is not None and before.life != state.life:
            # Another ticket stands in its place, and may have been given elsewhere.
            self._end(_CLOCK().running, before)
        if state.life is not None and (before is None or before.life != state.life):
            self._since = _CLOCK().running if state.life.left(_CLOCK()) > 0 else None

    def _note(self, seated: bool) -> None:
        if seated and self._since is None:
            self._since = _CLOCK().running
        elif not seated:
            self._end(_CLOCK().running, self._state)

    def _end(self, at: float, state: NodeState | None) -> None:
        if self._since is not None:
            life = None if state is None else state.life
            self._held.add(self._since, at if life is None else min(at, life.running + life.seconds))
            self._since = None

    def over(self) -> None:
        """The story ends: note what it holds."""
        self.kill()
        self._end(_CLOCK().running, self._state)
