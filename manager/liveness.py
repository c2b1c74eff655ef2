"""What follows from whom this manager sees alive, and from whom the others see (rule I7)."""

from collections.abc import Iterable

from gossip.group import Group
from gossip.members import Member
from gossip.messages import Address, State
from manager.registry import Registry
from manager.sessions.sessions import Sessions
from manager.sight import Sight

TAG_NODE_PORT = "kcm_node"
TAG_HTTP_PORT = "kcm_http"


class Liveness:
    """Tells the registry whose nodes may be judged, and by whom; and nodes, where else they may go."""

    def __init__(
        self, group: Group, registry: Registry, sight: Sight, sessions: Sessions, our_port: int
    ) -> None:
        """`our_port`: where we serve nodes."""
        self._group = group
        self._registry = registry
        self._sight = sight
        self._sessions = sessions
        self._our_port = our_port
        self._changed = True

    def changed(self) -> None:
        """Who is alive, or whom they see, is to be looked at anew."""
        self._changed = True

    def look(self, now: float) -> None:
        """Once, however many have come or gone with one input; nothing where nobody has."""
        if not self._changed:
            return
        self._changed = False
        self._sessions.admission.forget_silence(self._derive(now))
        self._sessions.shares.changed()
        if (managers := self._node_ports()) != self._sessions.managers:
            self._sessions.tell_managers(managers)

    def _derive(self, now: float) -> set[str]:
        """Gives the names of the managers alive, ours among them."""
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

    def _node_ports(self) -> tuple[str, ...]:
        """Where the managers alive serve nodes, `host:port`; ours first."""
        ours = str(Address(self._group.swim.members.me.address.host, self._our_port))
        return ours, *self._ports_of(self._kin())

    def _ports_of(self, kin: Iterable[Member]) -> Iterable[str]:
        for member in kin:
            port = self._group.tags(member).get(TAG_NODE_PORT, "")
            if port.isdigit():
                yield str(Address(member.address.host, int(port)))

    def _kin(self) -> list[Member]:
        return sorted(self._group.kin(), key=lambda member: member.name)
