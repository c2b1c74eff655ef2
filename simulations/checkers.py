"""What must hold once all is healed and time has passed: each gives what broke, as lines of text."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from manager.records import NODE, SETTING, NodeState
from manager.subscription.standing import DOCUMENT
from manager.terms import LIMITS, SUBSCRIPTION
from simulations.granted import turned_away
from simulations.network import Network
from simulations.nodes import SimNode
from simulations.processes import NODE_PORT, SimManager

LAST_EVENTS = 8
PACKETS_PER_SECOND_MAX = 6.0
"""Of one manager in a group where nothing happens: a probe and its ack, answers to others', a summary.
On average that is three, whatever the size of the group."""
PACKETS_PER_TRY = 8.0
"""More for each other manager, where a node that is refused tries again: a claim, a refusal, answers."""


def _kin(managers: Iterable[SimManager]) -> list[SimManager]:
    """The living managers of the first one's group."""
    managers = list(managers)
    return [m for m in managers if m.alive and m.group_name == managers[0].group_name]


def disagreements(managers: Iterable[SimManager]) -> list[str]:
    """Where the living managers' views of members, nodes and subscription differ from the first one's."""
    living = _kin(managers)
    unlike, broken = _never_taken_over(living), []
    for manager in living[1:]:
        for what, ours, theirs in zip(
            ("members", "nodes", "subscription"),
            _views(living[0], unlike),
            _views(manager, unlike),
            strict=True,
        ):
            for item in sorted(map(repr, ours ^ theirs)):
                broken.append(f"{what}: {living[0].name} and {manager.name} differ in {item}")
    return broken


def _never_taken_over(living: list[SimManager]) -> set[str]:
    """Nodes on former pages of managers that do not run: who had more of such a page knows more (I6)."""
    running = {manager.name for manager in living}
    return {
        key.removeprefix(NODE)
        for manager in living
        for owner, page in manager.core.group.ledger.former.items()
        if owner not in running
        for key in page.values
        if key.startswith(NODE)
    }


def _views(manager: SimManager, unlike: set[str]) -> tuple[set[tuple[object, ...]], ...]:
    core = manager.core
    members: set[tuple[object, ...]] = {
        # Who is gone is not told to those who never met it.
        (m.name, m.state.name, m.address, m.incarnation)
        for m in core.group.swim.members
        if m.present
    }
    nodes: set[tuple[object, ...]] = {
        (v.id, v.state.value, v.manager, v.seat, *v.record.session, v.record.stamp, v.record.over_limit)
        for v in core.registry.views()
        if v.id not in unlike
    }
    setting, document = core.settings.get("subscription"), core.subscription.document
    terms = core.cap, core.registry.used, setting and setting.serial, document and document.text
    return members, nodes, {terms}


def pages_differ(managers: Iterable[SimManager]) -> list[str]:
    """Living managers that do not hold the same pages at the same versions."""
    living = _kin(managers)
    broken = []
    for manager in living[1:]:
        ours, theirs = living[0].core.group.ledger.digest(), manager.core.group.ledger.digest()
        for owner in sorted(ours.keys() | theirs.keys()):
            if ours.get(owner) != theirs.get(owner):
                broken.append(f"page {owner}: {living[0].name} and {manager.name} differ")
    return broken


def dead_while_alive(managers: Iterable[SimManager]) -> list[str]:
    """Living managers that another living one does not see alive (M2)."""
    living = _kin(managers)
    names = {manager.name for manager in living}
    broken = []
    for manager in living:
        seen = {member.name for member in manager.core.group.kin()} | {manager.name}
        broken += [f"{manager.name} does not see {name} alive" for name in sorted(names - seen)]
    return broken


def alive_while_dead(managers: Iterable[SimManager]) -> list[str]:
    """Managers that do not run, and that a living one sees alive."""
    living = _kin(managers)
    names = {manager.name for manager in living}
    broken = []
    for manager in living:
        seen = {member.name for member in manager.core.group.kin()}
        broken += [f"{manager.name} sees {name} alive, which is not" for name in sorted(seen - names)]
    return broken


def two_of_one_name(managers: Iterable[SimManager]) -> list[str]:
    """Names under which two processes run."""
    names = Counter(manager.name for manager in _kin(managers))
    return [f"{count} processes are named {name}" for name, count in sorted(names.items()) if count > 1]


def set_on_one_page_alone(managers: Iterable[SimManager]) -> list[str]:
    """Managers whose own page lacks what an operator has set (L7)."""
    broken = []
    for manager in _kin(managers):
        own = manager.core.group.ledger.own
        for name in (SUBSCRIPTION, LIMITS):
            setting = manager.core.settings.get(name)
            if setting is not None and setting.serial > 0 and own.get(SETTING + name) != setting.pack():
                broken.append(f"{manager.name} has no copy of {name}, serial {setting.serial}")
        document = manager.core.subscription.document
        if document is not None and own.get(f"{DOCUMENT}{document.serial}") != document.text.encode():
            broken.append(f"{manager.name} has no copy of document {document.serial}")
    return broken


def oversold(managers: Iterable[SimManager]) -> list[str]:
    """Managers that count more seats than the cap, and those of a surge."""
    return [
        f"{manager.name} counts {manager.core.registry.used} seats of {manager.core.cap}"
        for manager in _kin(managers)
        if manager.core.cap is not None and manager.core.founders is None
        if manager.core.registry.used > manager.core.cap + manager.core.config.surge_seats
    ]


def connected_twice(managers: Iterable[SimManager]) -> list[str]:
    """Ids that two managers serve at once."""
    served = Counter(id_ for manager in _kin(managers) for id_ in manager.core.served())
    return [f"{id_} is served by {count} managers" for id_, count in sorted(served.items()) if count > 1]


_UNHEALED = (
    two_of_one_name,
    dead_while_alive,
    alive_while_dead,
    pages_differ,
    disagreements,
    set_on_one_page_alone,
    oversold,
    connected_twice,
)


class Finding(NamedTuple):
    """What broke, by the name of the checker that says so."""

    checker: str
    text: str


def unhealed_by(managers: Iterable[SimManager]) -> list[Finding]:
    """All that must hold of managers once faults have stopped and time has passed."""
    managers = list(managers)
    return [Finding(checker.__name__, text) for checker in _UNHEALED for text in checker(managers)]


def unhealed(managers: Iterable[SimManager]) -> list[str]:
    """The same without the checkers' names."""
    return [finding.text for finding in unhealed_by(managers)]


def oversized(network: Network) -> list[str]:
    """Hosts that sent datagrams which the network does not carry."""
    return [f"{host} sent {count} above the MTU" for host, count in sorted(network.oversized.items())]


def misplaced(managers: Iterable[SimManager], nodes: Iterable[SimNode]) -> list[str]:
    """Running nodes that are neither active nor refused as the cap says, and shown ones that do not run."""
    living = _kin(managers)
    if not living:
        return []
    core = living[0].core
    views = {view.id: view for view in core.registry.views()}
    cap, used = core.cap, core.registry.used
    full = cap is not None and used + core.registry.over >= cap
    reachable = {f"{manager.host}:{NODE_PORT}" for manager in living}
    broken = []
    running: Counter[str] = Counter()
    for node in nodes:
        if not node.alive:
            continue
        view = views.get(node.id)
        if not node.joined:
            if not reachable & set(node.knows) or turned_away(core, node):
                continue
            if not full:
                broken.append(f"{node.name} is outside, with {used} seats of {cap} taken")
            elif view is not None and view.running:
                broken.append(f"{node.name} is outside, and shown as {view.state}")
            continue
        running[node.id] += 1
        state = node.disk.state
        assert state is not None
        if view is None or view.state is not NodeState.ACTIVE:
            broken.append(f"{node.name} is served, and shown as {view and view.state}")
        elif view.record.incarnation != state.incarnation:
            broken.append(f"{node.name} is at {state.incarnation}, shown at {view.record.incarnation}")
        elif view.seat == view.record.over_limit:
            broken.append(f"{node.name} has a seat: {view.seat}, and is over: {view.record.over_limit}")
        elif view.record.over_limit and cap is not None and used < cap:
            broken.append(f"{node.name} is over the limit, with {used} seats of {cap} taken")
    broken += [f"{count} processes are {id_}" for id_, count in sorted(running.items()) if count > 1]
    for id_, view in views.items():
        if view.state is NodeState.ACTIVE and id_ not in running:
            broken.append(f"{view.record.name} is shown as active, and does not run")
    return broken


def too_many_packets(
    managers: Iterable[SimManager], before: Counter[str], after: Counter[str], seconds: float, tries: float
) -> list[str]:
    """Managers that sent more than a group at rest needs; `tries`: of refused nodes, in a second (M6)."""
    living = _kin(managers)
    broken = []
    for manager in living:
        rate = (after[manager.host] - before[manager.host]) / seconds
        bound = PACKETS_PER_SECOND_MAX + tries * PACKETS_PER_TRY * (len(living) - 1)
        if rate > bound:
            broken.append(f"{manager.name} sends {rate:.1f} packets a second at rest, more than {bound:.1f}")
    return broken


def last_events(members: Iterable[SimManager | SimNode], broken: Iterable[str]) -> list[str]:
    """The last lines of the log of each manager and node that `broken` names, a node also by its id."""
    words = set(re.findall(r"[\w-]+", " ".join(broken)))
    lines = []
    for member in members:
        if member.name in words or (isinstance(member, SimNode) and member.id in words):
            lines += [f"  {member.name} {at:9.3f} s  {text}" for at, text in member.lines[-LAST_EVENTS:]]
    return lines
