"""A node's session with whichever manager it can reach: the pure core.

It waits, connects, says hello, reports until the connection ends, and starts over with another
manager. Rules I1-I5: the incarnation is raised and saved before every hello, answered or not; one
that is behind goes above; a clone becomes a newcomer; moving is said by the close code.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b
from math import inf
from random import Random
from typing import assert_never

from node.bounds import in_words
from node.bundle import Bundle
from node.configuration import Configuration
from node.effects import (
    Close,
    Effect,
    Log,
    NodeState,
    Renewed,
    Save,
    Send,
    Source,
)
from node.endings import CLOSE_NORMAL
from node.inforce import InForce
from node.leases import SPREAD_SECONDS, larger, shortest
from node.life import Clock, Life
from node.phases import Connecting, Done, Greeting, Joined, Phase, Waiting
from node.protocol import (
    AnyMessage,
    Ask,
    Behind,
    Chunk,
    Clone,
    ConfigState,
    Fetch,
    Hello,
    Here,
    Leases,
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
from node.restarts import Restarts
from node.search import Search
from node.service import Service
from node.solitude import Solitude
from node.tickets import Tickets

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

    Answer each `Connect` with `connected` or `connect_failed`, each `LookUp` with `looked_up`; report what
    a connection brings with `received` and its end with `closed`, but nothing after a `Close`. Set `gateway`,
    `counters` and `served` whenever they change: the next hello or report says them.
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
        self.state = state or NodeState(key=rng.randbytes(32))
        self.gateway = ""
        self.counters: dict[str, float] = {}
        self.served: tuple[Served, ...] = ()
        self.configuration = Configuration(self.state.config_version)
        self.service = Service(self.state.service, self.state.order)
        self.restarts = Restarts()
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
        self._over_limit = False
        self._applied = 0
        self._in_force = InForce()
        self._in_force.early = _part(self.state.key) if restarts_for_limits else 0.0
        self._clock = clock
        self._tickets = Tickets(clock)
        self._before: NodeState | None = None
        """What was saved before the present ticket, until that is known to be saved."""
        self._rejoin_window = 60.0
        self._gives_turns = False
        self._solitude = Solitude(0.0, clock(), 0.0)

    def start(
        self, now: float, renewed_ago: float = inf, silent: float = 0.0, bundle: Bundle | None = None
    ) -> list[Effect]:
        """Begin; call once, before anything else. The leases were renewed `renewed_ago` seconds ago.

        No manager has been heard for `silent` seconds, whatever was restarted since. `bundle` is for a node
        that no manager has ever let in.
        """
        effects: list[Effect] = []
        self._heard = now
        self._solitude = Solitude(now, self._clock(), silent)
        self._in_force.renewed = now - renewed_ago
        if bundle is not None and not self.state.id:
            effects += self._start_by(bundle)
        # First what is over: the gateway is not to work for a moment under what no longer holds.
        effects += [*self._judge_life(now), *self._judge_solitude(now)]
        if self.state.limits or self.state.limits_version or self._in_force.provisional is not None:
            effects += self._look_at_leases(now)
        self._search.begin(now)
        return [*effects, *self.tick(now)]

    @property
    def phase(self) -> Phase:
        """How far it is with a manager."""
        return self._search.phase

    def next_deadline(self) -> float | None:
        """When to call `tick` at the latest; None when nothing is due before something happens."""
        deadlines: list[float] = []
        match self.phase:
            case Waiting(until=until) | Greeting(until=until):
                deadlines.append(until)
            case Joined():
                deadlines += [self._report_at, self._silent_at]
                if self.state.life is not None:
                    deadlines.append(self._tickets.ask_at)
            case Connecting():
                pass
            case Done():
                return None
            case _:
                assert_never(self.phase)
        deadlines += [self._tickets.lapse_at] if self._tickets.lapse_at < inf else []
        if not isinstance(self.phase, Joined):
            at = self._solitude.next_change(self._gives_up_after)
            deadlines += [at] if at < inf else []
        at = self._in_force.next_change(self.state)
        deadlines += [at] if at < inf else []
        return min(deadlines, default=None)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due; early or twice does no harm."""
        self._before = None
        effects = [*self._judge_life(now), *self._judge_solitude(now)]
        if self._in_force.silent or isinstance(self.phase, Done):
            return [*effects, *self._tick(now)]
        return [*effects, *self._look_at_leases(now), *self._tick(now)]

    def _tick(self, now: float) -> list[Effect]:
        match self.phase:
            case Waiting(address, until) if now >= until:
                return [self._search.reach(address)]
            case Greeting(until=until) if now >= until:
                return self._search.abandon("no answer to our hello", now)
            case Joined() if now >= self._silent_at:
                return self._search.abandon(f"silent for {now - self._heard:.0f} s", now)
            case Joined() if now >= self._report_at:
                return [self._report(now), *self.configuration.resume()]
            case Joined() if self.state.life is not None and now >= self._tickets.ask_at:
                return [self._ask_for_ticket(now)]
            case _:
                return []

    def limits_applied(self, version: int, limits: Limits, now: float) -> list[Effect]:
        """The gateway works under `limits`, those of `version`, from now on: the manager is told at once."""
        self._applied = version
        self.restarts.done()
        effects = self.noticed(now)
        in_force = larger(limits, self._in_force.limits or {})
        if in_force != self.state.in_force:
            self.state = replace(self.state, in_force=in_force)
            effects.append(Save(self.state))
        return effects

    def limits_failed(self, now: float) -> list[Effect]:
        """The newest limits could not be put into force: what held goes on."""
        self.restarts.done()
        return self.noticed(now)

    def limits_restart(self, restart: bool, now: float) -> list[Effect]:
        """Whether the newest limits take a restart of a gateway that is in service: then it waits for a turn.

        Again whenever that may have changed; `restarts.may` says whether it goes ahead.
        """
        joined = isinstance(self.phase, Joined)
        # Without a manager nobody gives turns, and what no longer holds is not to be let through.
        waits = self._gives_turns and (joined or self.source not in ("safe", "free"))
        before = self.restarts.asked, self.restarts.taken
        self.restarts.need(restart and waits)
        if before == (self.restarts.asked, self.restarts.taken):
            return []
        text = "The limits take a restart, which waits for its turn: what was in force is so until then"
        lines: list[Effect] = [Log(logging.INFO, text)] if self.restarts.asked else []
        return [*lines, *self.noticed(now)]

    def staged(self, sha256: str, error: str, now: float) -> list[Effect]:
        """The outcome of `Stage`: `error` is empty where the gateway would run with that configuration."""
        return self._configured(self.configuration.staged(sha256, error), now)

    def changed(self, sha256: str, error: str, now: float) -> list[Effect]:
        """The outcome of `Change`; after an `error` the gateway runs with what it had before."""
        return self._configured(self.configuration.changed(sha256, error), now)

    def drained(self, serial: int, now: float) -> list[Effect]:
        """The outcome of `Drain(serial)`."""
        return self._served(self.service.drained(serial), now)

    def restarted(self, error: str, now: float) -> list[Effect]:
        """The outcome of `Restart`; `error` is empty where the gateway is well again."""
        return self._served(self.service.restarted(error), now)

    def _served(self, effects: list[Effect], now: float) -> list[Effect]:
        """Keep what an operator wants, then tell the manager."""
        kept: list[Effect] = []
        if (self.state.service, self.state.order) != (self.service.kept, self.service.taken):
            self.state = replace(self.state, service=self.service.kept, order=self.service.taken)
            kept.append(Save(self.state))
        return [*kept, *effects, *self.noticed(now)]

    @property
    def config(self) -> ConfigState:
        """What a hello and a report say of configuration and service."""
        state, service, restarts = self.configuration.state, self.service, self.restarts
        return replace(
            state,
            ready=state.ready and not service.shown and not restarts.going,
            changing=state.changing or bool(restarts.going),
            restart_asked=restarts.asked,
            restart_taken=restarts.taken,
            service=service.shown,
            order_serial=service.taken[0],
            order_writer=service.taken[1],
            order_note=service.note,
        )

    @property
    def says(self) -> str:
        """The gateway's kind and state, and whether an operator has taken it out of service."""
        gateway, shown = self.gateway, self.service.shown
        return f"{gateway}{', ' if ':' in gateway else ': '}{shown}" if shown else gateway

    def noticed(self, now: float) -> list[Effect]:
        """Something that a report says has changed, and a manager should know before the next one is due."""
        return [self._report(now)] if isinstance(self.phase, Joined) else []

    def _configured(self, effects: list[Effect], now: float) -> list[Effect]:
        """Tell the manager at once where the configuration stands; what was for it is dropped without one."""
        joined = isinstance(self.phase, Joined)
        effects = [effect for effect in effects if joined or not isinstance(effect, Send)]
        if self.configuration.version != self.state.config_version:
            self.state = replace(self.state, config_version=self.configuration.version)
            effects.append(Save(self.state))
        return [*effects, self._report(now)] if joined else effects

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

    def save_failed(self, reason: str, now: float) -> list[Effect]:
        """The last `Save` is not on disk, and the effects after it were dropped."""
        if isinstance(self.phase, Done):
            return [Log(logging.WARNING, f"The state is not saved: {reason}"), Close(CLOSE_NORMAL)]
        if self._before is not None:  # a ticket is none before it is saved
            self.state, self._before = self._before, None
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
                return [*self._cut_life(), Send(Leave(reason=reason)), Close(CLOSE_NORMAL)]
            case Connecting():
                return [Close(CLOSE_NORMAL)]
            case _:
                return []

    def received(self, message: AnyMessage, now: float) -> list[Effect]:
        """A message of the open connection."""
        if not isinstance(self.phase, Greeting | Joined):
            return []
        self._heard = now
        self._solitude.heard(now, self._clock())
        self._before = None
        match message:
            case Welcome():
                return self._welcome(message, now)
            case Refused():
                return self._refused(message, now)
            case Behind(incarnation=incarnation):
                return self._go_above(incarnation, now)
            case Clone(sentence=sentence):
                self.state = replace(
                    self.state, key=self._rng.randbytes(32), id="", ticket="", life=None, incarnation=0
                )
                return [Log(logging.WARNING, sentence), *self._hello_again(now)]
            case Ask(number=number):
                return [Send(Here(number=number))]
            case NewTicket(number=number, ticket=ticket, life=life):
                lives = self._tickets.by_answer(number, life)
                if lives is None or not isinstance(self.phase, Joined):
                    return []
                return [*self._take_ticket(ticket, lives, now), self._ask_for_ticket(now)]
            case Void(incarnation=incarnation):
                if incarnation != self.state.incarnation:
                    return []
                self.state = replace(self.state, ticket="", life=None)
                void = Log(logging.WARNING, "The ticket is void: asking for another")
                return [void, *self._hello_again(now)]
            case Reported(number=number):
                return self._renew(self._reports.answered(number), now)
            case LimitsPush(version=version, limits=limits, leases=leases, over_limit=over_limit):
                if version <= self.state.limits_version:
                    return []
                if message.ticket and self.state.life is None:
                    self.state = replace(self.state, ticket=message.ticket)
                return [*self._take(version, limits, leases, over_limit, now), Save(self.state)]
            case Managers(managers=managers):
                self._search.learn(managers)
                return []
            case Redirect(managers=managers, going=going):
                return self._search.redirect(managers, going, now)
            case Order():
                return (
                    self._served(self.service.received(message), now)
                    if isinstance(self.phase, Joined)
                    else []
                )
            case MayRestart(number=number):
                if not isinstance(self.phase, Joined):
                    return []
                return [*self.restarts.permitted(number), *self.noticed(now)]
            case Wanted() | Permit() | Chunk() | Try():
                if not isinstance(self.phase, Joined):
                    return []
                before = self.configuration.state
                effects = self.configuration.received(message)
                return effects if self.configuration.state == before else self._configured(effects, now)
            case Hello() | Here() | Renew() | Report() | Fetch() | Tried() | Leave():
                return self.broken(f"a manager does not say {type(message).__name__.lower()}", now)
            case _:
                assert_never(message)

    # Saying hello

    def _hello(self) -> list[Effect]:
        self.configuration.session_ended()
        self.state = replace(self.state, incarnation=self.state.incarnation + 1)
        self._tickets.hello()
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
            config=self.config,
            left=self._tickets.left(self.state.life),
            fingerprint=self._fingerprint,
        )
        return [Save(self.state), Send(hello)]

    def _hello_again(self, now: float) -> list[Effect]:
        return self._search.greet_again(now) or self._hello()

    def _go_above(self, incarnation: int, now: float) -> list[Effect]:
        if incarnation >= INCARNATION_MAX:
            return self.broken(f"incarnation {incarnation} is absurd", now)
        self.state = replace(self.state, incarnation=max(self.state.incarnation, incarnation))
        return self._hello_again(now)

    def _welcome(self, message: Welcome, now: float) -> list[Effect]:
        if message.incarnation > self.state.incarnation:
            return self._go_above(message.incarnation, now)
        if message.incarnation < self.state.incarnation or not isinstance(self.phase, Greeting):
            return []  # the answer to an earlier hello
        if not is_node_id(message.id):
            return self.broken("a welcome without a node id", now)
        kept: list[Effect] = []
        if message.life:
            kept = self._take_ticket(message.ticket, self._tickets.by_hello(message.life), now)
        elif message.ticket != self.state.ticket:
            self.state = replace(self.state, ticket=message.ticket, life=None)
            self._tickets.taken(None, now)
        self.state = replace(
            self.state, id=message.id, free_limits=message.free_limits, degrade_after=message.degrade_after
        )
        asked = self.phase.said
        self._heartbeat = min(max(message.heartbeat, 0.05), 3600.0)
        self._search.joined(message.manager, self._heartbeat, now)
        self._search.learn(message.managers)
        self._rejoin_window = message.rejoin_window
        self._gives_turns = message.gives_turns
        self._in_force.free = self.state.free_limits if self._tickets.lapsed else None
        self._in_force.provisional, self._in_force.confirmed = None, True
        self._reports.session_began()
        effects: list[Effect] = [*kept, Log(logging.INFO, f"Joined as {message.id}, {self._search.where}")]
        if message.limits_follow:
            effects += self._renew(asked, now)
        else:
            self._in_force.renewed = max(self._in_force.renewed, asked)
            effects += self._take(
                message.limits_version, message.limits, message.leases, message.over_limit, now
            )
            effects.append(Renewed(now - self._in_force.renewed))
        effects.append(self._report(now))
        if self.state.life is not None:
            effects.append(self._ask_for_ticket(now))
        # Save comes last: what stands before it holds even when the disk is full. Only a ticket that has an
        # end is kept before it is used.
        return [*effects, Save(self.state)]

    def _refused(self, message: Refused, now: float) -> list[Effect]:
        self._search.learn(message.managers)
        if message.code == "starting":
            # Not a no: this manager does not know yet. Another may, so nothing falls to the free limits.
            return [Close(CLOSE_NORMAL), *self._search.try_next(message.sentence, now)]
        delay = self._search.refused(message.retry_after, now)
        self._in_force.free = dict(message.free_limits)
        return [
            Log(logging.WARNING, message.sentence),
            *self._look_at_leases(now),
            Close(CLOSE_NORMAL),
            Log(logging.INFO, f"Next try in {delay:.1f} s"),
        ]

    # The life of a ticket (rules S2, S4, S5)

    def _take_ticket(self, ticket: str, life: Life, now: float) -> list[Effect]:
        """Keep a ticket in the place of the one that there was, before it is used."""
        self._before = self.state
        self.state = replace(self.state, ticket=ticket, life=life)
        effects: list[Effect] = [Save(self.state)]
        if self._tickets.taken(life, now):
            self._in_force.free = None
            effects += self._look_at_leases(now)
        return effects

    def _ask_for_ticket(self, now: float) -> Effect:
        """Show what is on our disk, and ask for a newer one."""
        life = self.state.life
        assert life is not None
        return Send(self._tickets.ask(self.state.ticket, life, self._heartbeat, now))

    def _judge_life(self, now: float) -> list[Effect]:
        """Whether the ticket's life is over: then the free limits hold, whoever is our manager."""
        if isinstance(self.phase, Done) or not self._tickets.lapses(self.state.life, now):
            return []
        self._in_force.free = self.state.free_limits
        text = "The ticket is over: the free limits hold until a manager gives another"
        effects: list[Effect] = [Log(logging.WARNING, text), *self._look_at_leases(now)]
        return [*effects, self._ask_for_ticket(now)] if isinstance(self.phase, Joined) else effects

    # Without managers

    def _start_by(self, bundle: Bundle) -> list[Effect]:
        self._in_force.provisional = bundle.limits
        self._search.learn(bundle.managers)
        self.state = replace(self.state, free_limits=bundle.free_limits, degrade_after=bundle.degrade_after)
        text = "No manager has let this node in yet: until one does it runs provisionally, by its bundle"
        return [Log(logging.WARNING, text)]

    @property
    def source(self) -> Source | None:
        """Where the limits come from that shall be in force; None before there are any."""
        return self._in_force.source

    @property
    def managers(self) -> list[str]:
        """All that it would try."""
        return self._search.known

    @property
    def registered(self) -> bool:
        """Whether it counts itself as a node of the cluster: by a manager's word that still holds."""
        return bool(self.state.id) and not self._tickets.lapsed and not self._solitude.over

    def degrades_in(self, now: float) -> float:
        """Seconds until, without a manager, the free limits hold; infinite for never, 0 where they do."""
        clock = self._clock()
        by_ticket = inf if self.state.life is None else self.state.life.left(clock)
        return min(by_ticket, self._solitude.left(now, clock, self._gives_up_after))

    @property
    def _gives_up_after(self) -> float:
        after = self.state.degrade_after
        return after - self._in_force.early * min(SPREAD_SECONDS, after / 2)

    def _judge_solitude(self, now: float) -> list[Effect]:
        """Say in good time that no manager is heard; after too long the free limits hold."""
        if isinstance(self.phase, Joined) or not (self.state.id or self._in_force.provisional is not None):
            return []
        after, clock = self._gives_up_after, self._clock()
        if not self._solitude.look(now, clock, after):
            return []
        if not self._solitude.over:
            hours = self._solitude.left(now, clock, after) / 3600
            text = f"No manager is heard: in {hours:.3g} h this node gives up its place in the cluster"
            remedy = "the free limits hold then. Bring one back at an address of `seed`"
            return [Log(logging.WARNING, f"{text}, and {remedy}")]
        self._in_force.free = self.state.free_limits
        text = f"No manager for {after / 3600:.3g} h: until one is back the free limits hold"
        return [
            Log(logging.WARNING, f"{text}, and this node has no place in the cluster"),
            *self._look_at_leases(now),
        ]

    def _cut_life(self) -> list[Effect]:
        """Whoever leaves has its ticket end with the rejoin window, before anybody hears of it."""
        if self.state.life is None:
            return []
        self.state = replace(self.state, life=self.state.life.cut(self._clock(), self._rejoin_window))
        return [Save(self.state)]

    # Being joined

    def _report(self, now: float) -> Effect:
        self._report_at = now + min(self._heartbeat, self._shortest_lease / REPORTS_PER_LEASE)
        number, served = self._reports.begin(self.served, now)
        return Send(
            Report(
                number=number,
                gateway=self.says,
                limits_version=self._applied,
                config=self.config,
                counters=self.counters,
                served=served,
            )
        )

    def _take(
        self, version: int, limits: Limits, leases: Leases, over_limit: bool, now: float
    ) -> list[Effect]:
        """These are our shares from now on; they belong to the leases as renewed last."""
        effects: list[Effect] = []
        if over_limit and not self._over_limit:
            effects.append(Log(logging.WARNING, "This node runs above what the subscription allows"))
        elif self._over_limit and not over_limit:
            effects.append(Log(logging.INFO, "This node is within what the subscription allows again"))
        self._over_limit = over_limit
        if limits:
            shown = ", ".join(
                f"{name} {in_words(limit.max_rate, limit.every)}" for name, limit in limits.items()
            )
            effects.append(Log(logging.INFO, f"Limits received, version {version}: {shown}"))
        changed = version != self.state.limits_version
        self.state = replace(self.state, limits_version=version, limits=limits, leases=leases)
        return [*effects, *self._look_at_leases(now, changed=changed)]

    # Leases

    def _renew(self, asked: float, now: float) -> list[Effect]:
        """A manager has answered what left at `asked`."""
        if asked <= self._in_force.renewed:
            return []
        self._in_force.renewed = asked
        return [*self._look_at_leases(now), Renewed(now - asked)]

    def _look_at_leases(self, now: float, *, changed: bool = False) -> list[Effect]:
        """Let that be in force which holds now."""
        effects = self._in_force.look(self.state, now, changed=changed)
        if effects:
            most = larger(self.state.in_force, self._in_force.limits or {})
            self.state = replace(self.state, in_force=most)
        return effects

    @property
    def _shortest_lease(self) -> float:
        return max(0.15, shortest(self.state.limits, self.state.leases))

    @property
    def _silent_at(self) -> float:
        return self._heard + min(
            SILENT_HEARTBEATS_MAX * self._heartbeat, SILENT_PART_MAX * self._shortest_lease
        )


def _part(key: bytes) -> float:
    """From 0 to 1, always the same for one node."""
    return int.from_bytes(blake2b(key, digest_size=4).digest()) / 2**32
