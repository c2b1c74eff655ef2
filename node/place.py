"""A node's place in the cluster, and which limits follow from it: the pure core, a part of the session.

By a manager's word it has an id, a ticket and shares. Without a manager the shares hold for a time, and the
place for as long as the ticket lives (rules S2, S4, S5) and the node is not alone for too long: after that
the free limits hold.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from math import inf

from node.bounds import in_words
from node.bundle import Bundle
from node.effects import Effect, Log, NodeState, Renewed, Save, Send, Source
from node.inforce import InForce
from node.kept import Kept
from node.leases import SPREAD_SECONDS, larger, shortest
from node.life import Clock, Life
from node.protocol import Leases, Limits, LimitsPush, NewTicket, Welcome
from node.solitude import Solitude
from node.tickets import Tickets


class Place:
    """Call `begin` before anything else, and by `next_change` whatever finds out what is over.

    That is `lapse`, without a manager `alone`, and `look_again`.
    """

    def __init__(self, kept: Kept, clock: Callable[[], Clock], *, restarts_for_limits: bool) -> None:
        self._kept, self._clock = kept, clock
        self._over_limit = False
        self._in_force = InForce()
        self._in_force.early = _part(kept.state.key) if restarts_for_limits else 0.0
        self._tickets = Tickets(clock)
        self._before: NodeState | None = None
        """What was saved before the present ticket, until that is known to be saved."""
        self._solitude = Solitude(0.0, clock(), 0.0)

    def begin(self, now: float, renewed_ago: float, silent: float) -> None:
        """The leases were renewed `renewed_ago` seconds ago; no manager has been heard for `silent`."""
        self._solitude = Solitude(now, self._clock(), silent)
        self._in_force.renewed = now - renewed_ago

    def begin_by(self, bundle: Bundle) -> list[Effect]:
        """No manager has ever let this node in."""
        self._in_force.provisional = bundle.limits
        self._kept.state = replace(
            self._kept.state, free_limits=bundle.free_limits, degrade_after=bundle.degrade_after
        )
        text = "No manager has let this node in yet: until one does it runs provisionally, by its bundle"
        return [Log(logging.WARNING, text)]

    @property
    def registered(self) -> bool:
        """Whether it counts itself as a node of the cluster: by a manager's word that still holds."""
        return bool(self._kept.state.id) and not self._tickets.lapsed and not self._solitude.over

    @property
    def source(self) -> Source | None:
        """Where the limits come from that shall be in force; None before there are any."""
        return self._in_force.source

    def next_change(self, *, joined: bool) -> float:
        """When something is over by itself; infinite for never."""
        alone = inf if joined else self._solitude.next_change(self._gives_up_after)
        return min(self._tickets.lapse_at, alone, self._in_force.next_change(self._kept.state))

    # What a manager says of it

    def heard(self, now: float) -> None:
        """A manager has said something."""
        self._solitude.heard(now, self._clock())

    def welcomed(self, message: Welcome, now: float) -> list[Effect]:
        """A manager has let it in; the shares come by `began_with`."""
        kept: list[Effect] = []
        if message.life:
            kept = self._take_ticket(message.ticket, self._tickets.by_hello(message.life), now)
        elif message.ticket != self._kept.state.ticket:
            self._kept.state = replace(self._kept.state, ticket=message.ticket, life=None)
            self._tickets.taken(None, now)
        self._kept.state = replace(
            self._kept.state,
            id=message.id,
            free_limits=message.free_limits,
            degrade_after=message.degrade_after,
            rejoin_window=message.rejoin_window,
        )
        self._in_force.free = self._kept.state.free_limits if self._tickets.lapsed else None
        self._in_force.provisional, self._in_force.confirmed = None, True
        return kept

    def refused(self, free_limits: Limits, now: float) -> list[Effect]:
        """No manager would let it in."""
        self._in_force.free = dict(free_limits)
        return self._look(now)

    def leave(self) -> list[Effect]:
        """Whoever leaves has its ticket end with the rejoin window, before anybody hears of it."""
        life = self._kept.state.life
        if life is None:
            return []
        cut = life.cut(self._clock(), self._kept.state.rejoin_window)
        self._kept.state = replace(self._kept.state, life=cut)
        return [Save(self._kept.state)]

    # Its shares, and the leases of those

    @property
    def shortest_lease(self) -> float:
        """Seconds of that of its leases which ends first."""
        return max(0.15, shortest(self._kept.state.limits, self._kept.state.leases))

    def began_with(self, message: Welcome, asked: float, now: float) -> list[Effect]:
        """The shares in the welcome to a hello that left at `asked`."""
        if message.limits_follow:
            return self.renew(asked, now)
        self._in_force.renewed = max(self._in_force.renewed, asked)
        effects = self._take(message.limits_version, message.limits, message.leases, message.over_limit, now)
        return [*effects, Renewed(now - self._in_force.renewed)]

    def pushed(self, message: LimitsPush, now: float) -> list[Effect]:
        """Its manager has other shares for it."""
        if message.version <= self._kept.state.limits_version:
            return []
        if message.ticket and self._kept.state.life is None:
            self._kept.state = replace(self._kept.state, ticket=message.ticket)
        effects = self._take(message.version, message.limits, message.leases, message.over_limit, now)
        return [*effects, Save(self._kept.state)]

    def renew(self, asked: float, now: float) -> list[Effect]:
        """A manager has answered what left at `asked`."""
        if asked <= self._in_force.renewed:
            return []
        self._in_force.renewed = asked
        return [*self._look(now), Renewed(now - asked)]

    def look_first(self, now: float) -> list[Effect]:
        """Let that be in force which holds at the start, if there is anything yet."""
        state = self._kept.state
        if state.limits or state.limits_version or self._in_force.provisional is not None:
            return self._look(now)
        return []

    def look_again(self, now: float) -> list[Effect]:
        """Let that be in force which holds now, unless nobody has ever said anything of limits."""
        return [] if self._in_force.silent else self._look(now)

    def works_under(self, limits: Limits) -> list[Effect]:
        """The gateway does now, and no longer under what it had before."""
        in_force = larger(limits, self._in_force.limits or {})
        if in_force == self._kept.state.in_force:
            return []
        self._kept.state = replace(self._kept.state, in_force=in_force)
        return [Save(self._kept.state)]

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
        changed = version != self._kept.state.limits_version
        self._kept.state = replace(self._kept.state, limits_version=version, limits=limits, leases=leases)
        return [*effects, *self._look(now, changed=changed)]

    def _look(self, now: float, *, changed: bool = False) -> list[Effect]:
        """Let that be in force which holds now."""
        effects = self._in_force.look(self._kept.state, now, changed=changed)
        if effects:
            most = larger(self._kept.state.in_force, self._in_force.limits or {})
            self._kept.state = replace(self._kept.state, in_force=most)
        return effects

    # The life of its ticket (rules S2, S4, S5)

    @property
    def ticket_left(self) -> float:
        """Seconds; 0 where it is over, or has no end."""
        return self._tickets.left(self._kept.state.life)

    @property
    def ask_at(self) -> float:
        """When to ask for a newer one; infinite where the ticket has no end."""
        return inf if self._kept.state.life is None else self._tickets.ask_at

    def hello(self) -> None:
        """A hello is being said, which asks for a ticket too."""
        self._tickets.hello()

    def ask(self, heartbeat: float, now: float) -> list[Effect]:
        """Show what is on our disk, and ask for a newer one; nothing where the ticket has no end."""
        state = self._kept.state
        if state.life is None:
            return []
        return [Send(self._tickets.ask(state.ticket, state.life, heartbeat, now))]

    def answered(self, message: NewTicket, now: float) -> list[Effect]:
        """Another ticket has come, and is kept; nothing where that answers no question of now."""
        life = self._tickets.by_answer(message.number, message.life)
        return [] if life is None else self._take_ticket(message.ticket, life, now)

    def lapse(self, now: float) -> list[Effect]:
        """If the ticket's life is over from now on the free limits hold, whoever is our manager."""
        if not self._tickets.lapses(self._kept.state.life, now):
            return []
        self._in_force.free = self._kept.state.free_limits
        text = "The ticket is over: the free limits hold until a manager gives another"
        return [Log(logging.WARNING, text), *self._look(now)]

    def saved(self) -> None:
        """The last `Save` is on disk: the ticket, where there was a new one, is shown from now on."""
        self._before = None

    def save_failed(self) -> bool:
        """The last `Save` failed: whether it was of a ticket, which is none before it is saved."""
        if self._before is None:
            return False
        self._kept.state, self._before = self._before, None
        return True

    def _take_ticket(self, ticket: str, life: Life, now: float) -> list[Effect]:
        """Keep a ticket in the place of the one that there was, before it is used."""
        self._before = self._kept.state
        self._kept.state = replace(self._kept.state, ticket=ticket, life=life)
        effects: list[Effect] = [Save(self._kept.state)]
        if self._tickets.taken(life, now):
            self._in_force.free = None
            effects += self._look(now)
        return effects

    # Without managers

    def degrades_in(self, now: float) -> float:
        """Seconds until, without a manager, the free limits hold; infinite for never, 0 where they do."""
        clock, life = self._clock(), self._kept.state.life
        by_ticket = inf if life is None else life.left(clock)
        return min(by_ticket, self._solitude.left(now, clock, self._gives_up_after))

    def alone(self, now: float) -> list[Effect]:
        """Say in good time that no manager is heard; after too long the free limits hold."""
        if not (self._kept.state.id or self._in_force.provisional is not None):
            return []
        after, clock = self._gives_up_after, self._clock()
        if not self._solitude.look(now, clock, after):
            return []
        if not self._solitude.over:
            hours = self._solitude.left(now, clock, after) / 3600
            text = f"No manager is heard: in {hours:.3g} h this node gives up its place in the cluster"
            remedy = "the free limits hold then. Bring one back at an address of `seed`"
            return [Log(logging.WARNING, f"{text}, and {remedy}")]
        self._in_force.free = self._kept.state.free_limits
        text = f"No manager for {after / 3600:.3g} h: until one is back the free limits hold"
        return [Log(logging.WARNING, f"{text}, and this node has no place in the cluster"), *self._look(now)]

    @property
    def _gives_up_after(self) -> float:
        after = self._kept.state.degrade_after
        return after - self._in_force.early * min(SPREAD_SECONDS, after / 2)


def _part(key: bytes) -> float:
    """From 0 to 1, always the same for one node."""
    return int.from_bytes(blake2b(key, digest_size=4).digest()) / 2**32
