"""Claims that are not taken: a second process of one name, and managers of another group."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from gossip.effects import NameConflict, OpenStream, OtherGroup, Output, Rejected, Send
from gossip.members import Members
from gossip.messages import Ack, Address, Alive, NodeName, Ping, StreamMessage

_REMEMBERED_MAX = 256
_CHECK_SECONDS = 2.0


class Conflicts:
    """Tells the operator once of each, and ends us where our own name belongs to another."""

    def __init__(
        self,
        *,
        members: Members,
        came_later: Callable[[bytes], bool],
        tokens: Iterator[int],
        next_number: Callable[[], int],
    ) -> None:
        """`came_later(meta)`: whether we started after the process of our own name with that `meta`."""
        self._members = members
        self._me = members.me
        self._came_later = came_later
        self._tokens = tokens
        self._next_number = next_number
        self._checks: dict[int, Address] = {}
        """Where we ask whether somebody of our own name lives there."""
        self._said: OrderedDict[tuple[NodeName, Address], None] = OrderedDict()

    def other_group(self, claim: Alive, group: str) -> list[Output]:
        """A manager of `group`, by an address that changed hands or an agent in both: never let in."""
        output: list[Output] = [Rejected("other_group")]
        if self._is_news(claim):
            output.append(OtherGroup(claim.node, claim.address, group))
        return output

    def second_address(self, claim: Alive) -> list[Output]:
        """Two processes of one name. Where it is ours and we came later, make sure that the other lives."""
        output: list[Output] = []
        if self._is_news(claim):
            output.append(NameConflict(claim.node, claim.address, ours=False))
        holder = self._members.get(claim.node)
        if holder is not None and holder is not self._me:
            # Nobody passes the claim on, so the one whom all know would never hear that it came later.
            output.append(Send(holder.address, (claim,)))
        ours = claim.node == self._me.name
        if ours and self._came_later(claim.meta) and claim.address not in self._checks.values():
            token = next(self._tokens)
            self._checks[token] = claim.address
            ping = Ping(self._next_number(), self._me.name)
            output.append(OpenStream(token, claim.address, ping, _CHECK_SECONDS))
        return output

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._checks

    def stream_answered(self, token: int, answer: StreamMessage | None) -> list[Output]:
        """The outcome of a ping by TCP to the other process of our name."""
        address = self._checks.pop(token)
        return [NameConflict(self._me.name, address, ours=True)] if isinstance(answer, Ack) else []

    def _is_news(self, claim: Alive) -> bool:
        """Whether the operator has not been told yet, as far as we remember."""
        said = (claim.node, claim.address)
        known = said in self._said
        self._said[said] = None
        while len(self._said) > _REMEMBERED_MAX:
            self._said.popitem(last=False)
        return not known
