"""What follows from whom this manager sees alive, and from whom the others see (rule I7)."""

from collections.abc import Iterable

from gossip.group import Group
from gossip.members import Member
from gossip.messages import Address, State
from manager.registry import Registry
from manager.sight import Sight

TAG_NODE_PORT = "kcm_node"
TAG_HTTP_PORT = "kcm_http"


class Liveness:
    """Tells the registry whose nodes may be judged, and by whom."""

    def __init__(self, group: Group, registry: Registry, sight: Sight) -> None:
        self._group = group
        self._registry = registry
        self._sight = sight

    def look(self, now: float) -> set[str]:
        """Derive it anew; gives the names of the managers alive, ours among them."""
        kin, me = self._kin(), self._group.name
        alive = {me, *(member.name for member in kin)}
        if alive - {me} != self._sight.of(me):
            self._sight.changed(kin, now)
        seen_by_alive = alive.union(*(self._sight.of(member.name) for member in kin))
        # Not of all members, which strangers may make thousands of.
        owners = map(self._group.swim.members.get, self._group.ledger.pages)
        left = {owner.name for owner in owners if owner is not None and owner.state is State.LEFT}
        self._registry.liveness(alive, seen_by_alive, left, now)
        return alive

    def node_ports(self, our_port: int) -> tuple[str, ...]:
        """Where the managers alive serve nodes, `host:port`; ours, at `our_port`, first."""
        ours = str(Address(self._group.swim.members.me.address.host, our_port))
        return ours, *self._ports_of(self._kin())

    def _ports_of(self, kin: Iterable[Member]) -> Iterable[str]:
        for member in kin:
            port = self._group.tags(member).get(TAG_NODE_PORT, "")
            if port.isdigit():
                yield str(Address(member.address.host, int(port)))

    def _kin(self) -> list[Member]:
        return sorted(self._group.kin(), key=lambda member: member.name)
