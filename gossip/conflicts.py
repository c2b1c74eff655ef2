"""Claims that are not taken: to a name that another holds, and of managers of another group.

Whoever claims a name from elsewhere is a second process of that name, or the one that held it and has moved.
So whoever holds it is asked whether it still is where we know it; where it is not, the claim is taken.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gossip.effects import NameConflict, OpenStream, OtherGroup, Output, Rejected, Send
from gossip.members import Member, Members, takes_new_address
from gossip.messages import Ack, Address, Alive, NodeName, Ping, PushPull, StreamMessage, Suspect

_REMEMBERED_MAX = 256
_CLAIM_SECONDS = 10.0
"""For so long a claim that was not taken may still be, once nobody answers where we know its member."""
_CHECK_SECONDS = 2.0
_HOLDER_SECONDS = 1.0
_CHECKS_MAX = 8


@dataclass(slots=True)
class _Namesake:
    """A process of our own name, earlier than us by its `claim`, that is asked whether it lives."""

    claim: Alive
    restarted: bool = False
    """Whether we have heard since of one there that is later than us."""


class Conflicts:
    """Tells the operator once of each, finds out who has moved, and ends us where our name is another's."""

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
        self._checks: dict[int, tuple[NodeName, Address]] = {}
        """Of whom we ask whether it lives where we know it."""
        self._namesakes: dict[int, _Namesake] = {}
        self._refused: OrderedDict[tuple[NodeName, Address], tuple[Alive, float]] = OrderedDict()
        """Claims that were not taken, and when they came last; of these the operator has been told."""

    def other_group(self, claim: Alive, group: str, now: float) -> list[Output]:
        """A manager of `group`, by an address that changed hands or an agent in both: never let in."""
        output: list[Output] = [Rejected("other_group")]
        if self._is_news(claim, now):
            output.append(OtherGroup(claim.node, claim.address, group))
        return output

    def second_address(self, claim: Alive, now: float) -> list[Output]:
        """Two processes of one name. Where it is ours and we came later, make sure that the other lives."""
        output: list[Output] = []
        if self._is_news(claim, now):
            output.append(NameConflict(claim.node, claim.address, ours=False))
        holder = self._members.get(claim.node)
        if holder is not None and holder is not self._me:
            # Nobody passes the claim on, so the one whom all know would never hear that it came later.
            output.append(Send(holder.address, (claim,)))
            # A probe would come later, in its turn.
            output += self._check(holder.name, holder.address)
        elif claim.node == self._me.name and self._came_later(claim.meta):
            output += self._ask_namesake(claim)
        elif claim.node == self._me.name:
            self._note_restart(claim)
        return output

    def moved(self, member: Member, now: float) -> Alive | None:
        """The claim by which `member`, which does not answer where we know it, lately was elsewhere."""
        for (name, _), (claim, when) in self._refused.items():
            if name == member.name and now - when <= _CLAIM_SECONDS and takes_new_address(member, claim):
                return claim
        return None

    def _check(self, name: NodeName, address: Address) -> list[Output]:
        check = (name, address)
        if check in self._checks.values() or len(self._checks) >= _CHECKS_MAX:
            return []
        token = next(self._tokens)
        self._checks[token] = check
        return [OpenStream(token, address, Ping(self._next_number(), name), _HOLDER_SECONDS)]

    def _ask_namesake(self, claim: Alive) -> list[Output]:
        """By a push/pull, which says who asks and who answers: either may be another process by now.

        So whoever is answered by an earlier one is known to it as later, which does then not go by what it
        was told before (`restarted`): of two exactly one stops.
        """
        asked = {namesake.claim.address for namesake in self._namesakes.values()}
        if claim.address in asked or len(asked) >= _CHECKS_MAX:
            return []
        token = next(self._tokens)
        self._namesakes[token] = _Namesake(claim)
        ourselves = PushPull(False, (self._me.entry(),))
        return [OpenStream(token, claim.address, ourselves, _CHECK_SECONDS)]

    def _note_restart(self, claim: Alive) -> None:
        """One that is later than us is where another was asked.

        An agent, which does not say when it started, is later as soon as we have met anybody: the same one
        has not restarted.
        """
        for namesake in self._namesakes.values():
            if namesake.claim.address == claim.address and namesake.claim.meta != claim.meta:
                namesake.restarted = True

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._checks or token in self._namesakes

    def stream_answered(
        self, token: int, answer: StreamMessage | None
    ) -> tuple[list[Output], Suspect | None]:
        """What we asked of a member or a namesake, and the accusation that follows from it, if one does."""
        if (namesake := self._namesakes.pop(token, None)) is not None:
            claim, earlier = namesake.claim, self._is_earlier_there(namesake, answer)
            return [NameConflict(claim.node, claim.address, ours=True)] if earlier else [], None
        name, address = self._checks.pop(token)
        holder = self._members.get(name)
        if isinstance(answer, Ack) or holder is None or holder.address != address:
            return [], None
        return [], Suspect(name, holder.incarnation, self._me.name)

    def _is_earlier_there(self, namesake: _Namesake, answer: StreamMessage | None) -> bool:
        """Whether a process of our name lives there that started before us."""
        claim = namesake.claim
        if namesake.restarted or not isinstance(answer, PushPull):
            return False
        return any(
            entry.name == claim.node
            and entry.address == claim.address
            and (entry.meta == claim.meta or self._came_later(entry.meta))
            for entry in answer.members
        )

    def _is_news(self, claim: Alive, now: float) -> bool:
        """Whether the operator has not been told yet, as far as we remember."""
        key = (claim.node, claim.address)
        known = key in self._refused
        self._refused[key] = (claim, now)
        while len(self._refused) > _REMEMBERED_MAX:
            self._refused.popitem(last=False)
        return not known
