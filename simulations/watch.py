"""What must hold at every moment, whatever breaks: small checkers that see all that managers do.

Each raises `Broken`. What they compare with is the simulator's own knowledge: it sees what an owner wrote
and what a copy claims, which process has a name, whose disk was copied.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from gossip.effects import OpenStream, Send
from gossip.messages import IndirectPing, Ping, State, StreamMessage, User
from gossip.wire.ledger import PREFIX
from manager.effects import ToNode
from manager.records import NODE, SEES, NodeState, Setting, pack_names, unpack_names
from manager.registry import NodeView
from node.protocol import NewTicket
from simulations.allotted import AllottedAtRest
from simulations.capped import CapWatch
from simulations.conduct import Conduct
from simulations.granted import DocumentsWatch, PagesWatch, TokensWatch
from simulations.kept import Kept
from simulations.margins import MarginWatch
from simulations.nodes import SimNode
from simulations.outages import TurnsWatch
from simulations.processes import Ending, SimManager
from simulations.rights import RightsWatch
from simulations.world import World
from simulations.written import Written

LOOK_EVERY = 0.25
EMPTY = pack_names([])
RUNNING = (NodeState.ACTIVE, NodeState.UNREACHABLE)


class Broken(AssertionError):
    """A promise does not hold; the text says which, at whom, and when."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(text)
        self.checker = checker


@dataclass(slots=True)
class _Seen:
    """What one manager process has been seen to hold."""

    table: list[tuple[str, int, State]] = field(default_factory=list)
    """The members after the last turn."""
    members: dict[str, tuple[int, State]] = field(default_factory=dict)
    """Also those that are forgotten, if that was too soon."""
    gone_since: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, NodeView] = field(default_factory=dict)
    """Each node that was let in, as it was shown last."""
    serial: int = 0
    running: dict[str, NodeView] = field(default_factory=dict)
    """The nodes that counted as running at the last look."""
    derived: int = -1
    """The registry's, at the last look: at the same one there is nothing new to be seen in its views."""
    removed: dict[str, NodeView] = field(default_factory=dict)
    given_up: list[NodeView] = field(default_factory=list)
    """Nodes that are down since their manager is gone."""


class Watch:
    """The observer of one cluster. `managers` and `nodes` may grow; `whole()`: whether the network is."""

    def __init__(
        self,
        world: World,
        managers: list[SimManager],
        nodes: list[SimNode],
        whole: Callable[[], bool],
    ) -> None:
        self._world = world
        self._managers = managers
        self._nodes = nodes
        self._whole = whole
        self._written = Written(managers, self._fail)
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._kept = Kept(self._fail)
        self._margins = MarginWatch(nodes, self._fail)
        self._documents = DocumentsWatch(self._fail)
        self._pages = PagesWatch(self._fail)
        self._tokens = TokensWatch(managers, nodes, self._fail)
        self.allotted = AllottedAtRest(managers, nodes, self._fail)
        self._cap = CapWatch(world, managers, whole, self._fail)
        self.looked = 0
        self._operated: list[Setting] = []
        self.pruned: set[str] = set()
        """Members that an operator wanted to be listed no longer."""
        self._conduct = Conduct(world, managers, nodes, whole, self._fail)
        self.rights = RightsWatch(managers, nodes, self._fail)
        self.outages = TurnsWatch(managers, nodes, self._fail)
        world.after(LOOK_EVERY, self._look)

    # The observer's side

    def started(self, manager: SimManager) -> None:
        """Called before the first input of each process."""
        self._written.note(manager.core.group.ledger.own)
        self._conduct.started(manager)
        self._kept.started(manager)
        self.rights.started(manager)

    def turned(self, manager: SimManager) -> None:
        """Called after each input of each manager."""
        group, seen = manager.core.group, self._of(manager)
        self._written.note(group.ledger.own)
        # Most turns change no member: what looks at each does so after the others.
        table = [(member.name, member.incarnation, member.state) for member in group.swim.members]
        if table != seen.table:
            seen.table = table
            self._members_go_forward(manager)
            self._conduct.members_changed(manager)
        self._conduct.turned(manager)
        self.rights.turned(manager)
        self.outages.turned(manager)
        if self._cap.holds:
            self._cap.no_seat_above_the_cap(manager)

    def sent(self, manager: SimManager, effect: Send | OpenStream | ToNode) -> None:
        if isinstance(effect, ToNode):
            self._kept.said(manager, effect.message)
            self._margins.said(manager.name, manager.group_name, effect.message)
            self._tokens.said(manager, effect.message)
            if isinstance(effect.message, NewTicket):
                self.rights.gave(manager, effect.conn, self._world.now)
            self.rights.said(manager, effect.message, self._world.now)
            return
        if effect.address.host == manager.host:
            self._nobody_talks_to_itself(manager)
        messages = effect.messages if isinstance(effect, Send) else (effect.message,)
        for message in messages:
            self._kept.told(manager, message)
            if isinstance(message, User) and message.payload.startswith(PREFIX):
                self._to_kin_alone(manager, effect.address.host)
                self._written.note_sent(manager, message)
            elif isinstance(message, Ping | IndirectPing):
                self._conduct.asked(manager, effect, message)

    def answered(self, manager: SimManager, answer: StreamMessage) -> None:
        """Called for each answer by TCP."""
        self._kept.told(manager, answer)
        if isinstance(answer, User) and answer.payload.startswith(PREFIX):
            self._written.note_sent(manager, answer)

    def acked(self, manager: SimManager, number: int) -> None:
        """Called for each answer to a ping."""
        self._conduct.acked(manager, number)

    def reminded(self, manager: SimManager, member: str) -> None:
        """Called for each packet that says so."""
        self._conduct.reminded(manager, member)

    def operated(self, manager: SimManager, setting: Setting) -> None:
        """Called when an operator has set something."""
        self._operated.append(setting)

    def granted(self, text: str) -> None:
        """Called for each subscription that a trusted issuer has signed for the group."""
        self._documents.issued.add(text)

    def ended(self, manager: SimManager, how: Ending) -> None:
        """Called at the end of each process."""
        self._conduct.ended(manager, how)

    def _look(self) -> None:
        self._world.after(LOOK_EVERY, self._look)
        self.look()

    def look(self) -> None:
        """The checkers that would cost too much after each input."""
        self.looked += 1
        for manager in self._managers:
            if manager.alive:
                # Its turn may not be over yet.
                self._written.note(manager.core.group.ledger.own)
        for manager in self._managers:
            if manager.alive:
                self._written.copies_claim_what_was_written(manager)
                self._look_at_nodes(manager)
                self._removed_means_ended(manager)
                self._grace_waits_for_the_last_who_sees(manager)
                self._settings_go_forward(manager)
                self._serials_are_an_operators(manager)
                self._documents.look(manager)
                self._pages.look(manager)
        self._conduct.look()
        self.rights.looked()
        self._uncopied_nodes_keep_their_key()
        calm = self._cap.look()
        self.allotted.look(self._world.now, calm=calm.now)
        self.rights.judge_reach(self._world.now, calm=calm.now)
        self._tokens.look(calm=calm.settled, connected=calm.connected)

    def _look_at_nodes(self, manager: SimManager) -> None:
        registry, seen = manager.core.registry, self._of(manager)
        if registry.derived == seen.derived:
            return
        seen.derived, shown = registry.derived, list(registry.views())
        self._no_running_node_vanishes(manager, shown)
        self._nodes_go_forward(manager, shown)
        self._seats_counted_are_seats_shown(manager, shown)
        self._who_is_unreachable_holds_its_seat(manager, shown)
        seen.removed = {view.id: view for view in shown if view.record.state is NodeState.REMOVED}
        seen.given_up = [v for v in shown if v.state is NodeState.DOWN and v.record.state in RUNNING]

    def _fail(self, text: str) -> NoReturn:
        checker = sys._getframe(1).f_code.co_name.strip("_")
        raise Broken(checker, f"at {self._world.now:.3f} s: {text}")

    def _of(self, manager: SimManager) -> _Seen:
        seen = self._seen.get((manager.host, manager.starts))
        if seen is None:
            seen = self._seen[manager.host, manager.starts] = _Seen()
        return seen

    # The checkers

    def _members_go_forward(self, manager: SimManager) -> None:
        """No member's incarnation falls, and one that is gone returns only with a new one (M3, M4)."""
        seen, since = self._of(manager).members, self._of(manager).gone_since
        swim = manager.core.group.swim
        for name in [name for name in since if swim.members.get(name) is None]:
            if self._world.now - since[name] >= manager.gossip.gone_kept:
                del seen[name], since[name]
        for member in swim.members:
            before = seen.get(member.name)
            now = (member.incarnation, member.state)
            if before == now:
                continue
            seen[member.name] = now
            if member.present:
                since.pop(member.name, None)
            else:
                since[member.name] = self._world.now
            if before is None:
                continue
            if member.name in self.pruned:
                continue  # who was told to know it no more may hear of it as of a newcomer
            if now[0] < before[0]:
                self._fail(f"{manager.name} holds {member.name} at {now[0]}, after {before[0]}")
            gone = before[1] in (State.LEFT, State.DEAD)
            if gone and member.present and now[0] <= before[0] and member.name != manager.name:
                how = before[1].name.lower()
                self._fail(f"{manager.name} sees {member.name} return at {now[0]}, at which it was {how}")

    def _nobody_talks_to_itself(self, manager: SimManager) -> None:
        """No member is taken for running where we run ourselves."""
        self._fail(f"{manager.name} sends something to itself")

    def _to_kin_alone(self, manager: SimManager, host: str) -> None:
        """Nothing of the ledger goes to a member of another group (L9)."""
        for other in self._managers:
            if other.host == host and other.group_name != manager.group_name:
                self._fail(f"{manager.name} sends something of the ledger to {other.name}, a stranger")

    def _nodes_go_forward(self, manager: SimManager, shown: list[NodeView]) -> None:
        """No node that was let in is shown at an incarnation below one seen before (I1, I6)."""
        seen = self._of(manager).nodes
        # Until a manager that started under a clock set back has heard of its earlier page, that prevails.
        aback = {other.name for other in self._managers if other.set_back}
        strict = manager.core.founders is not None
        for view in shown:
            before = seen.get(view.id)
            if view is before or view.record.state in (
                NodeState.REFUSED,
                NodeState.CLAIMED,
                NodeState.MOVED,
            ):
                continue
            if before is not None and view.record.session < before.record.session:
                # With disks, what one has forgotten since may come back from another's lazy copy, or its
                # store that went back: judged under the other policy.
                forgotten = strict and self._written.was_deleted(before.manager, NODE + view.id)
                excused = before.manager in aback or forgotten or self._is_set_back(view.id)
                if not excused and not self._written.is_stale(manager, view.manager):
                    self._fail(
                        f"{manager.name} shows {view.record.name} {view.state} at {view.record.incarnation}, "
                        f"after {before.record.incarnation}"
                    )
            seen[view.id] = view

    def _no_running_node_vanishes(self, manager: SimManager, shown: list[NodeView]) -> None:
        """Whoever runs stays listed until its record ends; a start of its manager ends nobody (L5).

        Who never heard that it was let in may claim a seat elsewhere, by a later hello.
        """
        if manager.disk is not None:
            # A lazy copy may list what its owner forgot meanwhile, or what was let go of: judged without.
            return
        seen, view = self._of(manager), manager.core.registry.view
        for id_, was in seen.running.items():
            if view(id_) is not None or self._written.was_deleted(was.manager, NODE + id_):
                continue
            if not self._written.ended_since(NODE + id_, was.record.session):
                self._fail(f"{manager.name} no longer lists {id_}, which ran at {was.manager}")
        seen.running = {view.id: view for view in shown if view.running}

    def _removed_means_ended(self, manager: SimManager) -> None:
        """No process is `removed` that runs and never left, wherever it moved (I1, I5)."""
        removed = self._of(manager).removed
        for node in self._nodes if removed else ():
            view = removed.get(node.id) if node.alive else None
            if view is not None and view.record.nonce == node.nonce and not node.leaving:
                self._fail(f"{manager.name} shows {node.name} removed ({view.why}), and it runs")

    def _grace_waits_for_the_last_who_sees(self, manager: SimManager) -> None:
        """No node is down by its manager's death as long as any live manager sees that one (I7)."""
        core, given_up = manager.core, self._of(manager).given_up
        if not given_up:
            return
        pages, alive = core.group.ledger.pages, [member.name for member in core.group.kin()]
        seen = {name for kin in alive if kin in pages for name in unpack_names(pages[kin].get(SEES) or EMPTY)}
        for view in given_up:
            if view.manager in seen - set(alive) and view.manager not in core.group.ledger.former:
                self._fail(f"{manager.name} gave {view.record.name} up, whose manager is still seen")

    def _settings_go_forward(self, manager: SimManager) -> None:
        """What an operator set outlives its writer, and is never followed by something older (L7)."""
        setting, seen = manager.core.settings.get("subscription"), self._of(manager)
        serial = 0 if setting is None else setting.serial
        if serial < seen.serial:
            self._fail(f"{manager.name} follows setting {serial}, after {seen.serial}")
        seen.serial = serial

    def _serials_are_an_operators(self, manager: SimManager) -> None:
        """What prevails over the files, an operator has said: no file becomes one by a start (L7)."""
        setting = manager.core.settings.get("subscription")
        if setting is not None and setting.serial > 0 and setting not in self._operated:
            self._fail(f"{manager.name} follows {setting}, which no operator set")

    def _seats_counted_are_seats_shown(self, manager: SimManager, shown: list[NodeView]) -> None:
        """The running totals are what one gets by counting."""
        registry = manager.core.registry
        counted = sum(v.seat for v in shown), sum(v.running for v in shown)
        if counted != (registry.used, registry.running):
            told = f"{registry.used} seats, {registry.running} running"
            self._fail(f"{manager.name} says {told}; there are {counted[0]} and {counted[1]}")

    def _who_is_unreachable_holds_its_seat(self, manager: SimManager, shown: list[NodeView]) -> None:
        """A node that runs as far as is known keeps its seat, unless it is over the limit (A4)."""
        if manager.core.founders is not None:
            return  # there a seat ends with its ticket
        for view in shown:
            if view.running and not view.seat and not view.record.over_limit:
                self._fail(f"{manager.name} shows {view.record.name} {view.state.value} and without a seat")

    def _is_set_back(self, id_: str) -> bool:
        return any(id_ in node.disk.ids and (node.set_back or node.copied) for node in self._nodes)

    def _uncopied_nodes_keep_their_key(self) -> None:
        """Only a second process makes a node draw a new identity, and take a second seat (I2, I3)."""
        for node in self._nodes:
            earlier = node.disk.earlier
            if len(earlier) > 1 and earlier[-1].key != earlier[-2].key and not node.copied:
                self._fail(f"{node.name} became another node, and no other process ever had its disk")

    def disturb(self) -> None:
        """Something happened after which the cap need not hold at once: an operator lowered it."""
        self._cap.disturb()

    def break_links(self) -> None:
        """The network is about to be less than whole, if only for a moment."""
        self._conduct.disturbed()
