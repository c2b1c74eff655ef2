"""The asyncio shell of one manager process: sockets, clock, signals and log around the core.

It hands each input to the core with the loop's time, carries out the effects in order, and re-arms one
timer. Nothing else is decided here.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from random import SystemRandom
from typing import TypeAlias

from aiohttp import ClientError, ClientSession, ClientTimeout

from gossip.config import LAN
from gossip.effects import Departed, JoinTried, KeysDone, OpenStream, Reached, Resolve, SaveKeyring, Send
from gossip.group import Group
from gossip.host import GossipSockets
from gossip.key_messages import Verb
from gossip.memory import NO_MEMORY
from gossip.messages import Address, Message, StreamMessage
from gossip.wire import PLAIN, Keyring, Layers
from manager.addresses import is_own, looked_up, why_not_reached
from manager.checks import RECENT_SECONDS, Facts
from manager.config.configured import core_config, http_tokens, own_names, peers_token_of
from manager.config.schema import ManagerFile
from manager.core import Manager
from manager.disk.commits import waits_for_nothing
from manager.disk.journal import Journal
from manager.disk.saved import Saved
from manager.disk.store import Store, StoreError
from manager.doors import HttpDoor, is_near
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
from manager.garbage import settle_garbage
from manager.keys import write_keyring
from manager.limits.sharing import Sharing
from manager.listeners import ListenError, explain, listen
from manager.liveness import TAG_HTTP_PORT, TAG_NODE_PORT
from manager.rejections import Rejections
from manager.rollout.configs import Manner
from manager.rollout.orders import Action, Order
from manager.rollout.plan import PlanError
from manager.seed.server import SeedServer
from manager.subscription.documents import DOCUMENT_BYTES_MAX, DocumentError
from manager.subscription.file import SubscriptionFile
from manager.tls import Certificate
from manager.views import other_managers
from manager.waiting import Answer, Waiting
from manager.web.app import create_app
from manager.web.configs import fetch_content
from manager.web.server import HttpServer
from node.lookup import look_up
from node.notify import ALIVE, READY, STOPPING, notify, watchdog_seconds
from node.protocol import Limit, NodeMessage
from node.tls import to_managers

log = logging.getLogger("manager")

STOP_SECONDS_MAX = 9.0
"""After a signal the process has ended by then, whatever its peers do."""
TRIAL_SECONDS_MAX = 60.0
"""A gateway's own check of a configuration takes no longer."""
_CLOCK_EVERY = 1.0
_CLOCK_JUMP = 0.5
_CERTIFICATE_EVERY = 5.0
_SUBSCRIPTION_FILE_EVERY = 15.0
_ISSUER_TIMEOUT = ClientTimeout(total=10)
_Item: TypeAlias = ManagerEffect | Answer


class ManagerHost:
    """One running manager. `run` returns its exit code."""

    def __init__(
        self,
        file: ManagerFile,
        advertise: str,
        notices: Sequence[str],
        layers: Layers = PLAIN,
        store: Store | None = None,
    ) -> None:
        self.door = HttpDoor(http_tokens(file), frozenset(own_names(file)))
        self.peers_token = peers_token_of(file)
        tls = file.tls
        self._nodes_tls = Certificate(tls.cert, tls.key, tls.client_ca) if tls.cert else None
        self._http_tls = Certificate(tls.cert, tls.key) if tls.cert else None
        self.to_peers = to_managers(tls.ca, tls.server_name) if tls.ca else None
        self._rejections = Rejections(file, self.now)
        self.file = file
        self.http: ClientSession
        self.core: Manager
        self._advertise = advertise
        self._notices = notices
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._turn_ends: asyncio.Handle | None = None
        self._ended = asyncio.Event()
        self._exit_code = 0
        self._waiting = Waiting()
        self._saving: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._clock_offset = time.time() - self._loop.time()
        self._layers = layers
        self._store = store
        self._journal: Journal[_Item] | None = None
        if store is not None:
            self._journal = Journal(
                store,
                independent=lambda item: waits_for_nothing(item, file.name),
                carry_out=self._carry_out,
                failed=self._cannot_keep,
                full=self._waiting.disk_is_full,
            )
        self._subscription_file = SubscriptionFile(
            file.subscription.file if file.subscription.issuers else ""
        )
        self._gossip = GossipSockets(
            packet=self._packet,
            stream=self._stream,
            rejected=self._rejections.of_gossip,
            near=is_near if layers.keyring is None else lambda ip: True,
            layers=layers,
        )
        self._seed = SeedServer(
            message=self._node_message,
            closed=self._node_closed,
            rejected=self._rejections.of_nodes,
            near=(lambda ip: True) if file.nodes.tokens else is_near,
            heartbeat=file.nodes.heartbeat,
            handshake_failed=partial(self._rejections.of_handshakes, "node"),
        )

    # What the HTTP API needs

    @property
    def certificate_days_left(self) -> float | None:
        return None if self._http_tls is None else self._http_tls.days_left

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        return self._rejections.counts

    @property
    def not_kept(self) -> str:
        full = None if self._journal is None else self._journal.full
        return "" if full is None else str(full)

    def now(self) -> float:
        return self._loop.time()

    def count(self, where: str, reason: str) -> None:
        """One more under `rejected{where, reason}`."""
        self._rejections.count(where, reason)

    async def set_max_nodes(self, max_nodes: int) -> None:
        """Returns when it is kept."""
        await self._keep(self.core.operator.set_max_nodes(max_nodes, self.now()))

    async def set_limit(self, name: str, limit: Limit | None, sharing: Sharing) -> None:
        """Returns when it is kept. Raises `ValueError`."""
        await self._keep(self.core.operator.set_limit(name, limit, sharing, self.now()))

    async def expel(self, name: str) -> None:
        """Returns when it is kept. Raises `RightsError`."""
        await self._keep(self.core.operator.expel(name, self.now()))

    async def note_change(self, who: str, change: str, status: int) -> None:
        """Returns when it is kept."""
        await self._keep(self.core.operator.note_change(who, change, status, self.now()))

    async def forget_node(self, id_: str) -> None:
        """Returns when it is kept. Raises `RightsError`, `KeyError`."""
        await self._keep(self.core.operator.forget_node(id_, self.now()))

    async def force_leave(self, name: str, by: str, *, prune: bool) -> None:
        """Returns when it is kept and told. Raises `ForceLeaveRefused`, `KeyError`."""
        await self._keep(self.core.operator.force_leave(name, by, self.now(), prune=prune))

    async def join(self, peer: str) -> dict[str, JoinTried]:
        """What became of each address that `peer` stands for; none where it is not known."""
        tried: dict[str, asyncio.Future[JoinTried]] = {}
        for place in await look_up(peer, self._gossip.family):
            address = Address.of(place.host, place.port)
            token, effects = self.core.operator.join(address, self.now())
            tried[str(address)] = self._waiting.for_join(token)
            self._perform(effects)
        return {address: await outcome for address, outcome in tried.items()}

    async def reach(self) -> Reached:
        """Ask every member for an answer; whoever asks meanwhile shares it."""
        reached, new = self._waiting.for_reach()
        if new:
            self._perform(self.core.operator.reach(self.now()))
        return await asyncio.shield(reached)

    async def order_node(self, id_: str, action: Action, by: str) -> Order:
        """Returns when it is kept. Raises `OrderError`, `KeyError`."""
        order, effects = self.core.operator.order_node(id_, action, by, self.now())
        await self._keep(effects)
        return order

    async def examine(self) -> Facts:
        """Look at this manager itself."""
        swim = self.core.group.swim
        me = swim.members.me.address
        peers = await looked_up(self.file.peers, self._gossip.family)
        known = {str(member.address) for member in swim.members}
        return Facts(
            advertise=str(me),
            is_own=is_own(me.host),
            itself=await why_not_reached(me.host, me.port),
            peers=peers,
            unmet=[peer for peer in swim.rejoin.unmet() if known.isdisjoint(peers.get(peer, ()))],
            has_key=self._layers.keyring is not None,
            rejected=self._rejections.since(RECENT_SECONDS),
            days_left=self.certificate_days_left,
            unfit="" if self._http_tls is None else self._http_tls.unfit(me.host, self.file.tls.server_name),
        )

    async def _keep(self, effects: list[ManagerEffect]) -> None:
        """Carry out `effects`; returns when all before them, and they, are kept and told."""
        async with self._waiting.for_disk() as kept:
            self._perform(effects, Answer(kept, None))
            if self.not_kept:
                self._waiting.disk_is_full(StoreError(self.not_kept, 1, full=True))
            await kept

    async def snapshot(self) -> bytes | None:
        """The state as a file; None where nothing is kept. Raises `StoreError`."""
        return None if self._journal is None else await self._journal.snapshot()

    async def change_keys(self, verb: Verb, key: str, without: Iterable[str]) -> KeysDone:
        """Do it on every member; takes some seconds where one does not answer. Raises `KeysRefused`."""
        effects = self.core.operator.change_keys(verb, key, without, self.now())
        done = self._waiting.for_keys()
        self._perform(effects)
        return await done

    async def push_config(self, kind: str, content: bytes, by: str, manner: Manner, *, force: bool) -> None:
        """Returns when it is kept. Raises `PlanError`."""
        await self._keep(self.core.operator.push_config(kind, content, by, manner, self.now(), force=force))

    async def roll_back_config(self, kind: str, number: int | None, by: str, manner: Manner) -> None:
        """Returns when it is kept. Raises `PlanError`."""
        await self._keep(self.core.operator.roll_back_config(kind, number, by, manner, self.now()))

    async def steer_rollout(self, kind: str, action: str, by: str) -> None:
        """Returns when it is kept. Raises `PlanError`."""
        await self._keep(self.core.operator.steer_rollout(kind, action, by, self.now()))

    async def try_config(self, kind: str, content: bytes) -> TrialDone:
        """What a gateway of `kind` here says of `content`. Raises `PlanError` where none answers."""
        number, effects = self.core.operator.try_config(
            kind, sha256(content).hexdigest(), content, self.now()
        )
        async with self._waiting.for_trial(number) as done:
            self._perform(effects)
            try:
                async with asyncio.timeout(TRIAL_SECONDS_MAX):
                    return await done
            except TimeoutError:
                raise PlanError(
                    f"the node that was to check it is silent for {TRIAL_SECONDS_MAX:g} s: see its log"
                ) from None

    def leave(self, *, for_good: bool) -> None:
        """Move the nodes, leave the group, end the process."""
        notify(STOPPING)
        self._loop.call_later(STOP_SECONDS_MAX, self._ended.set)
        self._perform(self.core.go(self.now(), for_good=for_good))

    # Running

    async def run(self) -> int:
        """Listen, join, serve until told to stop. Raises `ListenError` before anything was sent."""
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            settle_garbage()
            notify(READY)
            self._feed_watchdog()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self._signalled)
            self._watch_clock()
            self._watch_subscription_file()
            self._watch_certificate()
            self._perform(self.core.tick(self.now()))
            await self._ended.wait()
            if self._timer is not None:
                self._timer.cancel()
            if self._journal is not None:
                await self._journal.close(self.core.end(self.now()))
        return self._exit_code

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        file = self.file
        node_sockets = listen(file.bind, file.node_port, "node_port", both_families=True)
        for sock in node_sockets:
            stack.callback(sock.close)
        http_sockets = listen(file.bind, file.http_port, "http_port", both_families=True)
        for sock in http_sockets:
            stack.callback(sock.close)
        stack.push_async_callback(self._gossip.close)
        stack.callback(self._stop_looking)
        self.core = self._make_core()
        try:
            await self._gossip.open(file.bind, file.gossip_port)
        except OSError as error:
            raise ListenError(explain(error, file.bind, file.gossip_port, "gossip_port")) from error
        self.http = await stack.enter_async_context(ClientSession(timeout=ClientTimeout(total=5)))
        stack.push_async_callback(self._seed.close)
        await self._seed.open(node_sockets, None if self._nodes_tls is None else self._nodes_tls.context)
        http = HttpServer(create_app(self), self.count, partial(self._rejections.of_handshakes, "http"))
        stack.push_async_callback(http.close)
        await http.open(http_sockets, None if self._http_tls is None else self._http_tls.context)
        log.info(
            "manager %s of group %s is listening: nodes on %s, gossip on %s, page and API on %s://%s",
            file.name,
            file.group.name,
            Address(self._advertise, file.node_port),
            Address(self._advertise, file.gossip_port),
            "http" if self._http_tls is None else "https",
            Address(self._advertise, file.http_port),
        )
        for notice in self._notices:
            log.warning("%s", notice)

    def _make_core(self) -> Manager:
        now = self.now()
        saved = None if self._store is None else self._store.saved
        group = Group(
            name=self.file.name,
            address=Address.of(self._advertise, self.file.gossip_port),
            group_name=self.file.group.name,
            tags={TAG_NODE_PORT: str(self.file.node_port), TAG_HTTP_PORT: str(self.file.http_port)},
            peers=tuple(str(peer) for peer in self.file.peers),
            config=replace(LAN, packet_bytes_max=LAN.packet_bytes_max - self._layers.overhead),
            random=SystemRandom(),
            now=now,
            wall_offset=self._clock_offset,
            keyring=self._layers.keyring,
            keyring_kept=bool(self.file.gossip.keyring_file),
            memory=NO_MEMORY if saved is None else saved.memory(self.file.name),
        )
        core = Manager(group, core_config(self.file), now, saved)
        if self._store is not None:
            self._store.saved = Saved()  # the core has it now
        return core

    def _signalled(self) -> None:
        if self.core.going:
            self._ended.set()
        else:
            self.leave(for_good=False)

    def _feed_watchdog(self) -> None:
        """Tell systemd, where it wants to know, that the loop turns."""
        if (seconds := watchdog_seconds()) is not None:
            notify(ALIVE)
            self._loop.call_later(seconds, self._feed_watchdog)

    def _watch_clock(self) -> None:
        offset = time.time() - self.now()
        if abs(offset - self._clock_offset) > _CLOCK_JUMP:
            log.warning("the clock was set by %+.1f s", offset - self._clock_offset)
            self._clock_offset = offset
            self.core.adjust_clock(offset)
        self._loop.call_later(_CLOCK_EVERY, self._watch_clock)

    # The subscription's sources

    async def install(self, text: str, source: str) -> None:
        """Put a signed subscription into force; returns when it is kept. Raises `DocumentError`."""
        await self._keep(self.core.operator.install(text, source, self.now()))

    def ask_issuer(self) -> None:
        """Ask the issuer's URL at once; raises `DocumentError` where none is set."""
        self._perform(self.core.operator.ask_issuer(self.now()))

    def _watch_subscription_file(self) -> None:
        """Take the file's document at the start, and again whenever the file has changed."""
        found = self._subscription_file.read()
        if found is not None:
            text, source = found
            try:
                self._perform(self.core.operator.install(text, source, self.now()))
            except DocumentError as error:
                self.count("subscription", "bad_document")
                log.error("subscription: %s: %s", source, error)
        self._loop.call_later(_SUBSCRIPTION_FILE_EVERY, self._watch_subscription_file)

    def _watch_certificate(self) -> None:
        """Take a new pair into use without a restart; a broken one is said, and the former serves on."""
        for certificate in (self._nodes_tls, self._http_tls):
            try:
                if certificate is not None and certificate.refresh():
                    log.info("tls: a new certificate is in use, %.0f days are left", certificate.days_left)
            except (OSError, ValueError) as error:
                self.count("tls", "bad_certificate")
                log.error("tls.cert and tls.key cannot be used (%s): the former pair serves on", error)
        self._loop.call_later(_CERTIFICATE_EVERY, self._watch_certificate)

    async def _ask_issuer(self, url: str) -> None:
        try:
            async with self.http.get(url, raise_for_status=True, timeout=_ISSUER_TIMEOUT) as answer:
                body = await answer.content.read(DOCUMENT_BYTES_MAX + 1)
        except (ClientError, TimeoutError, ValueError) as error:
            self.count("subscription", "issuer_unreachable")
            log.warning(
                "subscription: %s does not answer (%s); it is asked again", url, error or "no answer in time"
            )
            return
        self._perform(self.core.issuer_answered(body.decode("utf-8", errors="replace"), self.now()))

    async def _fetch_content(self, hash_: str, size: int) -> None:
        managers = other_managers(self.core, "http" if self.to_peers is None else "https").values()
        content = await fetch_content(self, managers, hash_, size)
        self._perform(self.core.content_fetched(content, self.now()))

    # Inputs

    def _packet(self, messages: tuple[Message, ...], sender: Address) -> None:
        self.core.packet_received(messages, sender, self.now(), more=True)
        self._end_turn_soon()

    async def _stream(self, message: StreamMessage) -> StreamMessage | None:
        answer, effects = self.core.stream_received(message, self.now())
        kept: asyncio.Future[StreamMessage | None] = self._loop.create_future()
        self._perform(effects, Answer(kept, answer))
        return await kept

    def _node_message(self, conn: int, message: NodeMessage, peer: str) -> None:
        self.core.node_message(conn, message, peer, self.now(), more=True)
        self._end_turn_soon()

    def _node_closed(self, conn: int, code: int | None) -> None:
        self.core.node_closed(conn, code, self.now(), more=True)
        self._end_turn_soon()

    def _end_turn_soon(self) -> None:
        """Once for all that the sockets have now: each alone would cost a turn, a packet and an answer."""
        if self._turn_ends is None:
            self._turn_ends = self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_ends = None
        self._perform(self.core.end_turn(self.now()))

    def _ticked(self) -> None:
        self._perform(self.core.tick(self.now()))

    # Effects

    def _perform(self, effects: list[ManagerEffect], *answers: Answer) -> None:
        """Carry out what a turn asks for, and answer, once what it wrote is on disk."""
        if self._journal is None:
            self._carry_out([*effects, *answers])
        else:
            self._journal.put([*effects, *answers])
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.core.next_deadline(), self._ticked)

    def _cannot_keep(self, error: StoreError) -> None:
        # Nobody may be told what is not kept, so there is nothing left to do.
        self._carry_out([Stop(error.exit_code, f"{error}; this manager ends, its nodes go to another")])

    def _carry_out(self, items: Sequence[_Item]) -> None:
        for effect in items:
            match effect:
                case ToNode(conn, message):
                    self._seed.send(conn, message)
                case Send():
                    self._gossip.send(effect)
                case OpenStream(token=token):
                    self._gossip.ask(effect, self._answer_to(token, wanted=effect.answered))
                case Resolve(peer):
                    looking = self._loop.create_task(self._look_up(peer))
                    self._looking.add(looking)
                    looking.add_done_callback(self._looking.discard)
                case SaveKeyring(keyring):
                    self._saving = self._loop.create_task(self._save(keyring))
                case CloseNode(conn, code, reason):
                    self._seed.end(conn, code, reason)
                case Persist():
                    pass  # the journal's
                case Log(level, text):
                    log.log(level, text)
                case Count(where, reason):
                    self.count(where, reason)
                case AskIssuer(url):
                    self._asking = self._loop.create_task(self._ask_issuer(url))
                case FetchContent(hash_, size):
                    self._fetching = self._loop.create_task(self._fetch_content(hash_, size))
                case Departed():
                    self._ended.set()
                case Stop(exit_code, text):
                    log.critical(text)
                    self._exit_code = exit_code
                    self._ended.set()
                case KeysDone() | Reached() | JoinTried() | TrialDone() | Answer():
                    self._waiting.said(effect)

    async def _save(self, keyring: Keyring) -> None:
        """To disk first: a key that others are told of must outlive this process."""
        why = ""
        try:
            await asyncio.to_thread(write_keyring, self.file.gossip.keyring_file, keyring)
        except OSError as error:
            why = error.strerror or type(error).__name__
        else:
            self._layers = self._gossip.layers = replace(self._layers, keyring=keyring)
        self._perform(self.core.keyring_saved(why, self.now()))

    def _answer_to(self, token: int, *, wanted: bool) -> Callable[[StreamMessage | None, str], None]:
        def answered(answer: StreamMessage | None, why: str) -> None:
            if wanted:
                self._perform(self.core.stream_answered(token, answer, self.now(), why))

        return answered

    async def _look_up(self, peer: str) -> None:
        places = await look_up(peer, self._gossip.family)
        found = [Address.of(place.host, place.port) for place in places]
        self._perform(self.core.resolved(peer, found, self.now()))

    def _stop_looking(self) -> None:
        for looking in self._looking:
            looking.cancel()


async def run_manager(
    file: ManagerFile,
    advertise: str,
    notices: Sequence[str],
    layers: Layers = PLAIN,
    store: Store | None = None,
) -> int:
    """Run one manager until it is stopped; gives its exit code.

    `advertise` is the IP that others reach; `notices` are warnings for the operator of a manager that runs;
    `layers` are the key and the label of its gossip; `store` is closed by the caller.
    """
    host = ManagerHost(file, advertise, notices, layers, store)
    try:
        return await host.run()
    except ListenError as error:
        log.critical("%s", error)
        return 2
