"""A node's session with whichever manager it can reach: the pure core.

It waits, connects, says hello, reports until the connection ends, and starts over with another
manager. Rules I1-I5: the incarnation is raised and saved before every hello, answered or not; one
that is behind goes above; a clone becomes a newcomer; moving is said by the close code.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf
from random import Random
from typing import assert_never

from node.bundle import Bundle
from node.duties import Duties
from node.effects import (
    Close,
    Effect,
    Log,
    NodeState,
    Save,
    Send,
)
from node.endings import CLOSE_NORMAL
from node.kept import Kept
from node.life import Clock
from node.phases import Connecting, Done, Greeting, Joined, Phase, Waiting
from node.place import Place
from node.protocol import (
    AnyMessage,
    Ask,
    Behind,
    Chunk,
    Clone,
    Fetch,
    Hello,
    Here,
    Leave,
    Limits,
    LimitsPush,
    Managers,
    MayRestart,
    NewTicket,
    Order,
    Permit,
    Redirect,
    Refused,
    Renew,
    Report,
    Reported,
    Served,
    Tried,
    Try,
    Void,
    Wanted,
    Welcome,
    is_node_id,
)
from node.reports import Reports
from node.search import Search

SILENT_HEARTBEATS_MAX = 3
"""After so many without a word the manager is taken for dead."""
SILENT_PART_MAX = 0.75
"""… or after this part of a shorter lease: the rest is for finding another one."""
REPORTS_PER_LEASE = 3
"""So often at least a lease is renewed before it ends."""
INCARNATION_MAX = 2**62
"""What a manager may claim to know; above, there would be no room to go above it."""


class Session:
    """Carry out the effects it returns, in order, and call `tick` no later than `next_deadline()`.

    Answer each `Connect` with `connected` or `connect_failed`, each `LookUp` with `looked_up`, each
    `Save` with `saved` or `save_failed` before the next effect; report what a connection brings with
    `received` and its end with `closed`, but nothing after a `Close`. Set `gateway`, `counters` and
    `served` whenever they change: the next hello or report says them. `place` knows what holds of it as a
    node, and `duties` what it is about with its gateway.
    """

    def __init__(
        self,
        *,
        seeds: Iterable[str],
        state: NodeState | None,
        rng: Random,
        clock: Callable[[], Clock],
        name: str = "",
        agent_version: str = "",
        fingerprint: str = "",
        weight: float = 1.0,
        labels: dict[str, str] | None = None,
        ephemeral: bool = False,
        token: str = "",
        restarts_for_limits: bool = False,
    ) -> None:
        """`state` is what was saved, None at a node's first start; keys are drawn from `rng`.

        `clock` tells what the host's clocks show: a ticket's life is counted by those. `restarts_for_limits`:
        without managers nobody gives turns, so that each node falls to other limits at a time of its own.
        """
        self._kept = Kept(state or NodeState(key=rng.randbytes(32)))
        self.duties = Duties(self._kept)
        self.place = Place(self._kept, clock, restarts_for_limits=restarts_for_limits)
        self.gateway = ""
        self.counters: dict[str, float] = {}
        self.served: tuple[Served, ...] = ()
        self._rng = rng
        self._nonce = rng.getrandbits(63)
        self._name, self._agent_version, self._token = name, agent_version, token
        self._fingerprint = fingerprint
        self._weight, self._labels, self._ephemeral = weight, labels or {}, ephemeral
        self._search = Search(seeds, rng)
        self._heartbeat = 5.0
        self._heard = 0.0
        self._report_at = 0.0
        self._reports = Reports()
        self._applied = 0
        self._gives_turns = False

    def start(
        self, now: float, renewed_ago: float = inf, silent: float = 0.0, bundle: Bundle | None = None
    ) -> list[Effect]:
        """Begin; call once, before anything else. The leases were renewed `renewed_ago` seconds ago.

        No manager has been heard for `silent` seconds, whatever was restarted since. `bundle` is for a node
        that no manager has ever let in.
        """
        effects: list[Effect] = []
        self._heard = now
        self.place.begin(now, renewed_ago, silent)
        if bundle is not None and not self.state.id:
            effects += self.place.begin_by(bundle)
            self._search.learn(bundle.managers)
        # First what is over: the gateway is not to work for a moment under what no longer holds.
        effects += [*self.place.lapse(now), *self._judge(now), *self.place.look_first(now)]
        self._search.begin(now)
        return [*effects, *self.tick(now)]

    @property
    def state(self) -> NodeState:
        """What a restart may not lose."""
        return self._kept.state

    @property
    def managers(self) -> list[str]:
        """All that it would try."""
        return self._search.known

    @property
    def phase(self) -> Phase:
        """How far it is with a manager."""
        return self._search.phase

    @property
    def _joined(self) -> bool:
        return isinstance(self.phase, Joined)

    def next_deadline(self) -> float | None:
        """When to call `tick` at the latest; None when nothing is due before something happens."""
        match self.phase:
            case Waiting(until=until) | Greeting(until=until):
                at = until
            case Joined():
                at = min(self._report_at, self._silent_at, self.place.ask_at)
            case Connecting():
                at = inf
            case Done():
                return None
            case _:
                assert_never(self.phase)
        at = min(at, self.place.next_change(joined=self._joined))
        return at if at < inf else None

    def tick(self, now: float) -> list[Effect]:
        """Do what is due; early or twice does no harm."""
        effects = self._judge(now)
        if not isinstance(self.phase, Done):
            effects += self.place.look_again(now)
        return [*effects, *self._go_on(now)]

    def _judge(self, now: float) -> list[Effect]:
        """Whether what held is over."""
        lapsed = [] if isinstance(self.phase, Done) else self.place.lapse(now)
        if not self._joined:
            return [*lapsed, *self.place.alone(now)]
        return [*lapsed, *self.place.ask(self._heartbeat, now)] if lapsed else []

    def _go_on(self, now: float) -> list[Effect]:
        match self.phase:
            case Waiting(address, until) if now >= until:
                return [self._search.reach(address)]
            case Greeting(until=until) if now >= until:
                return self._search.abandon("no answer to our hello", now)
            case Joined() if now >= self._silent_at:
                return self._search.abandon(f"silent for {now - self._heard:.0f} s", now)
            case Joined() if now >= self._report_at:
                return [self._report(now), *self.duties.configuration.resume()]
            case Joined() if now >= self.place.ask_at:
                return self.place.ask(self._heartbeat, now)
            case _:
                return []

    # What becomes of the gateway

    def limits_applied(self, version: int, limits: Limits, now: float) -> list[Effect]:
        """The gateway works under `limits`, those of `version`, from now on: the manager is told at once."""
        self._applied = version
        self.duties.restarts.done()
        return [*self.noticed(now), *self.place.works_under(limits)]

    def limits_failed(self, now: float) -> list[Effect]:
        """The newest limits could not be put into force: what held goes on."""
        self.duties.restarts.done()
        return self.noticed(now)

    def limits_restart(self, restart: bool, now: float) -> list[Effect]:
        """Whether the newest limits take a restart of a gateway that is in service: then it waits for a turn.

        Again whenever that may have changed; `duties.restarts.may` says whether it goes ahead.
        """
        # Without a manager nobody gives turns, and what no longer holds is not to be let through.
        waits = self._gives_turns and (self._joined or self.place.source not in ("safe", "free"))
        before = self.duties.restarts.asked, self.duties.restarts.taken
        self.duties.restarts.need(restart and waits)
        if before == (self.duties.restarts.asked, self.duties.restarts.taken):
            return []
        text = "The limits take a restart, which waits for its turn: what was in force is so until then"
        lines: list[Effect] = [Log(logging.INFO, text)] if self.duties.restarts.asked else []
        return [*lines, *self.noticed(now)]

    def staged(self, sha256: str, error: str, now: float) -> list[Effect]:
        """The outcome of `Stage`: `error` is empty where the gateway would run with that configuration."""
        return [*self.duties.staged(sha256, error, joined=self._joined), *self.noticed(now)]

    def changed(self, sha256: str, error: str, now: float) -> list[Effect]:
        """The outcome of `Change`; after an `error` the gateway runs with what it had before."""
        return [*self.duties.changed(sha256, error, joined=self._joined), *self.noticed(now)]

    def drained(self, serial: int, now: float) -> list[Effect]:
        """The outcome of `Drain(serial)`."""
        return [*self.duties.drained(serial), *self.noticed(now)]

    def restarted(self, error: str, now: float) -> list[Effect]:
        """The outcome of `Restart`; `error` is empty where the gateway is well again."""
        return [*self.duties.restarted(error), *self.noticed(now)]

    @property
    def says(self) -> str:
        """The gateway's kind and state, and whether an operator has taken it out of service."""
        gateway, shown = self.gateway, self.duties.service.shown
        return f"{gateway}{', ' if ':' in gateway else ': '}{shown}" if shown else gateway

    def noticed(self, now: float) -> list[Effect]:
        """Something that a report says has changed, and a manager should know before the next one is due."""
        return [self._report(now)] if self._joined else []

    # What becomes of the connection

    def connected(self, now: float, remote: str = "") -> list[Effect]:
        """The connection is open, to `remote` if the name led to another address than it says."""
        self._search.connected(now, remote)
        return self._hello()

    def looked_up(self, name: str, addresses: Iterable[str], now: float) -> list[Effect]:
        """`name` stands for these, to be tried in this order; none where it is not known."""
        return self._search.looked_up(name, addresses, now)

    def connect_failed(self, reason: str, now: float) -> list[Effect]:
        """`reason` is for people: `connection refused`."""
        return self._search.connect_failed(reason, now)

    def saved(self) -> None:
        """The last `Save` is on disk."""
        self.place.saved()

    def save_failed(self, reason: str, now: float) -> list[Effect]:
        """The last `Save` is not on disk, and the effects after it were dropped."""
        if isinstance(self.phase, Done):
            return [Log(logging.WARNING, f"The state is not saved: {reason}"), Close(CLOSE_NORMAL)]
        if self.place.save_failed():
            return [
                Close(CLOSE_NORMAL),
                *self._search.try_next(f"No ticket without a saved state: {reason}", now),
            ]
        if isinstance(self.phase, Greeting):  # the hello was among the dropped
            return [
                Close(CLOSE_NORMAL),
                *self._search.try_next(f"No hello without a saved state: {reason}", now),
            ]
        return [Log(logging.WARNING, f"The state is not saved: {reason}")]

    def closed(self, code: int, reason: str, now: float) -> list[Effect]:
        """The connection ended, by the other end or by itself."""
        return self._search.closed(code, reason, now)

    def broken(self, reason: str, now: float) -> list[Effect]:
        """The manager sent what is no message."""
        return self._search.broken(reason, now)

    def leave(self, reason: str, now: float) -> list[Effect]:
        """The operator stops the node: say so, and be done."""
        match self._search.stop():
            case Greeting() | Joined():
                return [*self.place.leave(), Send(Leave(reason=reason)), Close(CLOSE_NORMAL)]
            case Connecting():
                return [Close(CLOSE_NORMAL)]
            case _:
                return []

    def received(self, message: AnyMessage, now: float) -> list[Effect]:
        """A message of the open connection."""
        if not isinstance(self.phase, Greeting | Joined):
            return []
        self._heard = now
        self.place.heard(now)
        match message:
            case Welcome():
                return self._welcome(message, now)
            case Refused():
                return self._refused(message, now)
            case Behind(incarnation=incarnation):
                return self._go_above(incarnation, now)
            case Clone(sentence=sentence):
                self._kept.state = replace(
                    self.state, key=self._rng.randbytes(32), id="", ticket="", life=None, incarnation=0
                )
                return [Log(logging.WARNING, sentence), *self._hello_again(now)]
            case Ask(number=number):
                return [Send(Here(number=number))]
            case NewTicket():
                taken = self.place.answered(message, now) if self._joined else []
                return [*taken, *self.place.ask(self._heartbeat, now)] if taken else []
            case Void(incarnation=incarnation):
                if incarnation != self.state.incarnation:
                    return []
                self._kept.state = replace(self.state, ticket="", life=None)
                void = Log(logging.WARNING, "The ticket is void: asking for another")
                return [void, *self._hello_again(now)]
            case Reported(number=number):
                return self.place.renew(self._reports.answered(number), now)
            case LimitsPush():
                return self.place.pushed(message, now)
            case Managers(managers=managers):
                self._search.learn(managers)
                return []
            case Redirect(managers=managers, going=going):
                return self._search.redirect(managers, going, now)
            case Order() | MayRestart() | Wanted() | Permit() | Chunk() | Try():
                if not self._joined:
                    return []
                effects, news = self.duties.received(message)
                return [*effects, *self.noticed(now)] if news else effects
            case Hello() | Here() | Renew() | Report() | Fetch() | Tried() | Leave():
                return self.broken(f"a manager does not say {type(message).__name__.lower()}", now)
            case _:
                assert_never(message)

    # Saying hello

    def _hello(self) -> list[Effect]:
        self.duties.configuration.session_ended()
        self._kept.state = replace(self.state, incarnation=self.state.incarnation + 1)
        self.place.hello()
        hello = Hello(
            key=self.state.key,
            id=self.state.id,
            ticket=self.state.ticket,
            incarnation=self.state.incarnation,
            nonce=self._nonce,
            name=self._name,
            agent_version=self._agent_version,
            gateway=self.says,
            token=self._token,
            limits_version=self.state.limits_version,
            in_force=self.state.in_force,
            weight=self._weight,
            labels=self._labels,
            ephemeral=self._ephemeral,
            config=self.duties.state,
            left=self.place.ticket_left,
            fingerprint=self._fingerprint,
        )
        return [Save(self.state), Send(hello)]

    def _hello_again(self, now: float) -> list[Effect]:
        return self._search.greet_again(now) or self._hello()

    def _go_above(self, incarnation: int, now: float) -> list[Effect]:
        if incarnation >= INCARNATION_MAX:
            return self.broken(f"incarnation {incarnation} is absurd", now)
        self._kept.state = replace(self.state, incarnation=max(self.state.incarnation, incarnation))
        return self._hello_again(now)

    def _welcome(self, message: Welcome, now: float) -> list[Effect]:
        if message.incarnation > self.state.incarnation:
            return self._go_above(message.incarnation, now)
        if message.incarnation < self.state.incarnation or not isinstance(self.phase, Greeting):
            return []  # the answer to an earlier hello
        if not is_node_id(message.id):
            return self.broken("a welcome without a node id", now)
        kept = self.place.welcomed(message, now)
        asked = self.phase.said
        self._heartbeat = min(max(message.heartbeat, 0.05), 3600.0)
        self._search.joined(message.manager, self._heartbeat, now)
        self._search.learn(message.managers)
        self._gives_turns = message.gives_turns
        self._reports.session_began()
        return [
            *kept,
            Log(logging.INFO, f"Joined as {message.id}, {self._search.where}"),
            *self.place.began_with(message, asked, now),
            self._report(now),
            *self.place.ask(self._heartbeat, now),
            # Last: what stands before it holds even when the disk is full. Only a ticket that has an end is
            # kept before it is used.
            Save(self.state),
        ]

    def _refused(self, message: Refused, now: float) -> list[Effect]:
        self._search.learn(message.managers)
        if message.code == "starting":
            # Not a no: this manager does not know yet. Another may, so nothing falls to the free limits.
            return [Close(CLOSE_NORMAL), *self._search.try_next(message.sentence, now)]
        delay = self._search.refused(message.retry_after, now)
        return [
            Log(logging.WARNING, message.sentence),
            *self.place.refused(message.free_limits, now),
            Close(CLOSE_NORMAL),
            Log(logging.INFO, f"Next try in {delay:.1f} s"),
        ]

    # Being joined

    def _report(self, now: float) -> Effect:
        self._report_at = now + min(self._heartbeat, self.place.shortest_lease / REPORTS_PER_LEASE)
        number, served = self._reports.begin(self.served, now)
        return Send(
            Report(
                number=number,
                gateway=self.says,
                limits_version=self._applied,
                config=self.duties.state,
                counters=self.counters,
                served=served,
            )
        )

    @property
    def _silent_at(self) -> float:
        return self._heard + min(
            SILENT_HEARTBEATS_MAX * self._heartbeat, SILENT_PART_MAX * self.place.shortest_lease
        )
