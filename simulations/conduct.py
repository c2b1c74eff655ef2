"""How members behave towards each other: who is asked, suspected, given up, and who goes.

What is judged is what SWIM promises and its siblings got wrong. The simulator knows who is well: a process
that has run and been awake for a while, in a network that has been whole for as long.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import NoReturn

from gossip.effects import OpenStream, Send
from gossip.members import Member
from gossip.messages import IndirectPing, Ping, State
from simulations.nodes import SimNode
from simulations.processes import Ending, SimManager
from simulations.world import World

WELL_AFTER = 20.0
"""How long a member must be well to have answered every earlier accusation."""
AWAY = 1.0
"""A member that did not run for this long knows nothing of the others, nor for as long afterwards."""
LONG_AWAY = 2.5
"""Who handles nothing for this long, by its own clock, was not called when it should have probed …"""
LISTENS = 0.15
"""… and judges nobody for at least so long afterwards."""
SUSPECTED_MAX = 45.0
"""The longest suspicion lasts 24 s, a little more where many are known who are gone."""
GONE_MAX = SUSPECTED_MAX + 5.0
"""Seconds after the end of a process by which it is probed, suspected and given up …"""
PROBED_EACH = 9.0
"""… and for each member as many more: whoever takes itself for slow probes as slowly."""
GIVES_WAY = 30.0
"""Seconds after the last start of any by which one of two processes of a name has ended."""
WELCOMED = 1.0
"""Seconds after a node's welcome by which its manager has heard it."""
LEAVE_TOLD = 3.0
"""Seconds after its end by which a member that left is known to have left."""


@dataclass(slots=True)
class _Seen:
    """What one manager process was last seen to do."""

    states: dict[str, State] = field(default_factory=dict)
    accused: str | None = None
    asking: int | None = None
    """Number of the probe for which others had not been asked."""
    helpers: Counter[int] = field(default_factory=Counter)
    """How many were asked within this turn, by the number of the probe."""
    probe: int = 0
    """Number of the probe that was under way after the last input."""
    probed: str = ""
    """Whom that is about."""
    acked: int = 0
    """The last that was answered."""
    known: dict[str, float] = field(default_factory=dict)
    """Since when who is held for present."""
    suspected: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Since when who is suspected, and at which incarnation, as far as the process was awake."""
    missed: dict[str, int] = field(default_factory=dict)
    """Probes of others since a member was probed."""
    reminded: dict[str, float] = field(default_factory=dict)
    """When others last told it that it, or its former process, had given somebody up, by its own clock."""
    lines: int = 0
    turned: float = inf
    """When it handled its last input, by its own clock."""
    went_back: bool = False
    """Whether its store had gone back."""
    woke: float = -inf
    """When it did so for the first time after it was away for long."""


class Conduct:
    """Part of the watch: `fail(text)` raises, `whole()` says whether every link is whole."""

    def __init__(
        self,
        world: World,
        managers: list[SimManager],
        nodes: list[SimNode],
        whole: Callable[[], bool],
        fail: Callable[[str], NoReturn],
    ) -> None:
        self._world = world
        self._managers = managers
        self._nodes = nodes
        self._whole = whole
        self._fail = fail
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._well_since: dict[str, float] = {}
        self._ran: dict[str, float] = {}
        """When each host was last seen to run, before it was away for long."""
        self._away: dict[str, float] = {}
        """When each host was last seen to be away, after it was so for long."""
        self._outside_at: dict[str, float] = {}
        """When each node was last seen without a manager."""
        self._last_ran: dict[str, float] = {}
        """When a process of each name was last seen."""
        self._broken_at = 0.0
        self._left: list[tuple[float, SimManager, int, list[tuple[SimManager, int]]]] = []
        """When who ended after a leave, at which start, and whom it had told."""

    # What happens

    def disturbed(self) -> None:
        """A link broke."""
        self._broken_at = self._world.now

    def started(self, manager: SimManager) -> None:
        """A new process."""
        self._well_since[manager.host] = self._world.now
        went_back = manager.disk is not None and manager.disk.is_old
        self._seen[manager.host, manager.starts] = _Seen(lines=len(manager.lines), went_back=went_back)

    def asked(self, manager: SimManager, effect: Send | OpenStream, message: Ping | IndirectPing) -> None:
        """`manager` sends a ping, or asks somebody to."""
        seen = self._seen[manager.host, manager.starts]
        if isinstance(message, IndirectPing):
            seen.helpers[message.number] += 1
            return
        probe = manager.core.group.swim.prober._probe
        if probe is not None and probe.number == message.number and isinstance(effect, Send):
            self._probed(manager, seen, probe.target)

    def acked(self, manager: SimManager, number: int) -> None:
        """The answer to a ping of `manager` has come."""
        probe = manager.core.group.swim.prober._probe
        if probe is not None and probe.number == number:
            self._seen[manager.host, manager.starts].acked = number

    def reminded(self, manager: SimManager, member: str) -> None:
        """Others tell `manager` of its own verdict."""
        self._seen[manager.host, manager.starts].reminded[member] = manager.loop.now

    def turned(self, manager: SimManager) -> None:
        """`manager` has handled an input."""
        seen = self._seen[manager.host, manager.starts]
        self._helpers_are_asked(manager, seen)
        if manager.loop.now - seen.turned >= LONG_AWAY:
            seen.woke = manager.loop.now
        seen.turned = manager.loop.now
        lines = manager.lines
        if len(lines) > seen.lines:
            for _, line in lines[seen.lines :]:
                if " is unreachable: silent" in line or " is down: silent" in line:
                    self._nobody_who_speaks_is_silent(manager, line)
                elif line.endswith(f" is dead: no refutation reached {manager.name}"):
                    self._who_was_away_listens_before_it_judges(manager, line)
            seen.lines = len(lines)
        prober = manager.core.group.swim.prober
        probe, seen.accused = prober._probe, prober.accused
        seen.probe, seen.probed = (0, "") if probe is None else (probe.number, probe.target)

    def members_changed(self, manager: SimManager) -> None:
        """`manager` holds a member for something else than before its last input."""
        seen = self._seen[manager.host, manager.starts]
        for member in manager.core.group.swim.members:
            before = seen.states.get(member.name)
            if before is not member.state:
                seen.states[member.name] = member.state
                if not member.present:
                    seen.known.pop(member.name, None)
                else:
                    seen.known.setdefault(member.name, self._world.now)
                if member.state in (State.DEAD, State.SUSPECT) and before is not None:
                    self._nobody_well_is_accused(manager, member.name, member.incarnation, member.state)
                    self._who_was_away_blames_nobody(manager, member)
                    self._who_answered_is_not_accused(manager, seen, member)

    def ended(self, manager: SimManager, how: Ending) -> None:
        """A process is no more."""
        if how == "conflict":
            self._who_gives_way_has_a_namesake(manager)
        elif how == "overdue":
            self._a_leave_comes_to_an_end(manager)
        elif how == "departed" and self._is_well(manager.host, LEAVE_TOLD):
            told = [
                (other, other.starts)
                for other in self._kin(manager)
                if other.alive and self._is_well(other.host, LEAVE_TOLD) and self._sees(other, manager)
            ]
            self._left.append((self._world.now, manager, manager.starts, told))

    def look(self) -> None:
        """Every now and then."""
        now = self._world.now
        if not self._whole():
            self._broken_at = now
        processes: list[SimManager | SimNode] = [*self._managers, *self._nodes]
        for process in processes:
            if not process.alive or process.loop.busy:
                self._well_since[process.host] = now
                if now - self._ran.get(process.host, now) >= AWAY:
                    self._away[process.host] = now
            else:
                self._ran[process.host] = now
        for node in self._nodes:
            if not node.joined:
                self._outside_at[node.host] = now
        self._last_ran |= {manager.name: now for manager in self._managers if manager.alive}
        for manager in self._managers:
            if manager.alive:
                self._no_stranger_is_a_member(manager)
                self._a_suspicion_comes_to_an_end(manager)
                self._who_is_well_is_known_as_it_is(manager)
                self._who_is_gone_is_given_up(manager)
        self._who_was_let_in_is_not_refused()
        for leave in [leave for leave in self._left if leave[0] + LEAVE_TOLD <= now]:
            self._left.remove(leave)
            self._who_left_is_not_dead(*leave)

    # Who is well

    def _is_well(self, host: str, seconds: float = WELL_AFTER) -> bool:
        since = max(self._broken_at, self._well_since.get(host, 0.0))
        return self._whole() and self._world.now - since >= seconds

    def _kin(self, manager: SimManager) -> list[SimManager]:
        return [m for m in self._managers if m.group_name == manager.group_name and m is not manager]

    def _sees(self, manager: SimManager, other: SimManager) -> bool:
        return other.name in {member.name for member in manager.core.group.kin()}

    def _running(self, name: str) -> list[SimManager]:
        return [manager for manager in self._managers if manager.name == name and manager.alive]

    # The checkers

    def _no_stranger_is_a_member(self, manager: SimManager) -> None:
        """No member of another group is in the table (M5)."""
        ours = {name for other in [manager, *self._kin(manager)] for name in other.names}
        for member in manager.core.group.swim.members:
            if member.name not in ours:
                self._fail(f"{manager.name} has {member.name} among its members, a stranger")

    def _who_is_well_is_known_as_it_is(self, manager: SimManager) -> None:
        """Of a process that is well, who is well too has that one's metadata, and not its predecessor's."""
        if manager.loop.busy or manager.set_back or not self._is_well(manager.host):
            return
        for member in manager.core.group.kin():
            named = [other for other in self._managers if other.name == member.name]
            # Who starts under a clock set back learns how high it was from whole tables, which are rare.
            if len(named) != 1 or not named[0].alive or named[0].set_back or not self._is_well(named[0].host):
                continue
            # One whose store went back may not remember us, and hears of us by a whole table too.
            if self._seen[named[0].host, named[0].starts].went_back and not self._sees(named[0], manager):
                continue
            if member.meta != named[0].core.group.swim.members.me.meta:
                self._fail(f"{manager.name} has the metadata of an earlier {member.name}")

    def _who_is_gone_is_given_up(self, manager: SimManager) -> None:
        """Of whom no process runs, nobody says for long that it does, who is well."""
        if manager.loop.busy or not self._is_well(manager.host, GONE_MAX):
            return
        for member in manager.core.group.swim.members.present():
            gone_since = self._last_ran.get(member.name, self._world.now)
            # Others may tell of it when it is long gone.
            known_since = self._seen[manager.host, manager.starts].known[member.name]
            patience = GONE_MAX + PROBED_EACH * len(manager.core.group.swim.members)
            if self._world.now - max(gone_since, known_since) > patience:
                self._fail(
                    f"{manager.name} holds {member.name} for {member.state.name.lower()}, which is gone"
                )

    def _a_suspicion_comes_to_an_end(self, manager: SimManager) -> None:
        """Who is suspected has refuted or is given up in time, wherever somebody is awake to see to it."""
        seen, now = self._seen[manager.host, manager.starts], self._world.now
        # Who stands aside says so of itself, for as long as little is heard of it.
        suspects = [m for m in manager.core.group.swim.members.others() if m.state is State.SUSPECT]
        since, seen.suspected = seen.suspected, {}
        for member in suspects:
            name = member.name
            if member.suspicion is None:
                self._fail(f"{manager.name} suspects {name}, and no time runs in which it must answer")
            began, incarnation = since.get(name, (now, member.incarnation))
            if incarnation != member.incarnation or manager.loop.busy or manager.waits_for_disk:
                began = now
            seen.suspected[name] = began, member.incarnation
            if now - began > SUSPECTED_MAX:
                self._fail(f"{manager.name} suspects {name} for {now - began:.0f} s")

    def _nobody_well_is_accused(self, manager: SimManager, name: str, incarnation: int, state: State) -> None:
        """Nobody who is well is given up, however late the accuser; nor suspected by one who is well too."""
        named = [other for other in self._managers if other.name == name]
        if len(named) != 1 or not named[0].alive or named[0].set_back or named[0].core.going:
            return
        other = named[0]
        if state is State.SUSPECT and not self._accusers_are_well(manager, name):
            return
        current = incarnation >= other.core.group.swim.members.me.incarnation
        if current and not other.loop.busy and self._is_well(other.host):
            self._fail(f"{manager.name} holds {name} for {state.name.lower()}, which is well")

    def _who_answered_is_not_accused(self, manager: SimManager, seen: _Seen, member: Member) -> None:
        """Whose answer came while it was asked is not accused for that probe, whoever else did not answer."""
        probe = manager.core.group.swim.prober._probe
        over = seen.probe and (probe is None or probe.number != seen.probe)
        alone = member.suspicion is not None and member.suspicion.accusers == {manager.name}
        if over and alone and seen.acked == seen.probe and seen.probed == member.name:
            self._fail(f"{manager.name} accuses {member.name}, which has answered it")

    def _who_was_away_blames_nobody(self, manager: SimManager, member: Member) -> None:
        """Who did not run accuses nobody who is well of having been silent meanwhile."""
        alone = member.suspicion is not None and member.suspicion.accusers == {manager.name}
        named = [other for other in self._managers if other.name == member.name]
        if not alone or len(named) != 1 or not named[0].alive or named[0].loop.busy or named[0].core.going:
            return
        away = self._world.now - self._away.get(manager.host, -AWAY) < AWAY
        if away and self._is_well(named[0].host):
            self._fail(f"{manager.name} was away itself, and accuses {member.name}")

    def _who_was_away_listens_before_it_judges(self, manager: SimManager, line: str) -> None:
        """Who did not run hears first what waits in its sockets: a refutation may be there."""
        member = manager.core.group.swim.members.get(line.split()[1])
        if member is None:
            return
        seen = self._seen[manager.host, manager.starts]
        # Not when it says so: what it says may have waited for its disk, and for it to wake up.
        since = member.changed - seen.woke
        # Others may tell it what it, or its former process, had found: that is no verdict of now.
        if 0 <= since < LISTENS and seen.reminded.get(member.name) != member.changed:
            self._fail(f"{manager.name} had been away until {since:.2f} s before, and says: {line}")

    def _accusers_are_well(self, manager: SimManager, name: str) -> bool:
        """Whether `manager`, and all who it knows to accuse `name`, have been well for a while."""
        member = manager.core.group.swim.members.get(name)
        if member is None or member.suspicion is None:
            return False
        accusers = {manager.name, *member.suspicion.accusers}
        return all(
            other.alive and self._is_well(other.host) for other in self._managers if other.name in accusers
        )

    def _helpers_are_asked(self, manager: SimManager, seen: _Seen) -> None:
        """As many others as there are, three at most, are asked before anybody is suspected."""
        group = manager.core.group
        probe = group.swim.prober._probe
        asked, before = seen.helpers, seen.asking
        if asked:
            seen.helpers = Counter()
        seen.asking = None
        if probe is None:
            return
        if probe.asks_others_at < float("inf"):
            seen.asking = probe.number
            return
        target = group.swim.members.get(probe.target)
        if before != probe.number or target is None or not target.present:
            return
        able = [m for m in group.swim.members.present() if m.state is State.ALIVE and m is not target]
        count, wanted = asked[probe.number], min(len(able), manager.gossip.indirect_checks)
        # What passes on news of itself waits for its disk.
        if count < wanted and not manager.waits_for_disk:
            self._fail(f"{manager.name} asks {count} others about {probe.target}, and could ask {wanted}")

    def _probed(self, manager: SimManager, seen: _Seen, target: str) -> None:
        """Each running member is probed once per cycle: two of its probes are 2n - 1 apart at the most."""
        members = manager.core.group.swim.members
        if target == seen.accused:
            return  # out of turn: somebody else accused it
        present = {member.name for member in members.present()}
        seen.missed = {name: seen.missed.get(name, 0) + 1 for name in sorted(present)}
        seen.missed[target] = 0
        for name, missed in seen.missed.items():
            if missed > 2 * len(members):
                self._fail(
                    f"{manager.name} has not probed {name} in {missed} rounds of {len(members)} members"
                )

    def _nobody_who_speaks_is_silent(self, manager: SimManager, line: str) -> None:
        """No node that reports is held for silent: a manager that was away did not listen.

        One that stands aside knows that the others do not tell it who serves whom, and one that has just
        started may not have met them yet.
        """
        patience = manager.core.config.unreachable_after + 5.0
        aside = manager.core.group.swim.members.me.state is State.SUSPECT
        if aside or self._world.now - manager.started < patience:
            return
        running = [other for other in self._managers if other.alive or other.conflicting]
        started = max(other.started for other in running)
        if len({other.name for other in running}) < len(running) and self._world.now - started < GIVES_WAY:
            return  # until one of two processes of a name has given way the others hear only the one
        id_ = line.split(" ", 1)[0]
        for node in self._nodes:
            # It says nothing before its welcome, which waits for its manager's disk.
            heard = node.joined and self._world.now - self._outside_at.get(node.host, 0.0) >= WELCOMED
            if node.id == id_ and node.alive and heard and self._is_well(node.host, patience):
                self._fail(f"{manager.name} says of {node.name}, which is well: {line}")

    def _who_was_let_in_is_not_refused(self) -> None:
        """A node that was let in is never refused for want of a seat, and goes on with its share (A4)."""
        for node in self._nodes:
            if node.applied.source == "free" and node.alive:
                state = node.disk.state
                if state is not None and state.ticket and state.life is None:
                    self._fail(f"{node.name} was let in before, and is refused")

    def _who_left_is_not_dead(
        self, at: float, manager: SimManager, starts: int, told: list[tuple[SimManager, int]]
    ) -> None:
        """Who leaves in good order among members that are well is seen as left, at once."""
        if self._broken_at > at or manager.starts != starts or len(self._running(manager.name)):
            return
        for other, other_starts in told:
            if other.alive and other.starts == other_starts and self._is_well(other.host, LEAVE_TOLD):
                member = other.core.group.swim.members.get(manager.name)
                if member is not None and member.state is not State.LEFT:
                    state = member.state.name.lower()
                    self._fail(f"{other.name} holds {manager.name} for {state}, which has left")

    def _a_leave_comes_to_an_end(self, manager: SimManager) -> None:
        """Who is told to stop ends by itself, also when nobody answers."""
        # What it says last waits for its disk, which may be full or slow.
        well = self._world.now - self._well_since.get(manager.host, 0.0) >= WELL_AFTER
        if well and not manager.waits_for_disk:
            self._fail(f"{manager.name} was told to stop, and has not left")

    def _who_gives_way_has_a_namesake(self, manager: SimManager) -> None:
        """A process that ends since another of its name lives is right about that."""
        if not any(other is not manager and other.name == manager.name for other in self._managers):
            self._fail(f"{manager.name} gave way to another of its name, and there is none")
