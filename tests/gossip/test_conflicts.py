"""Two processes of one name, where one of them does not say when it started."""

from itertools import count
from random import Random

from gossip.conflicts import Conflicts
from gossip.effects import NameConflict, OpenStream
from gossip.members import Member, Members
from gossip.messages import OUR_VERSIONS, Address, Alive, MemberState, PushPull, State

ME = Address("10.0.0.1", 7946)
AGENT = Address("10.0.0.9", 7946)


def test_an_agent_of_our_name_stops_a_newcomer_that_has_met_others_by_the_time_of_its_answer() -> None:
    met: list[str] = []
    conflicts = Conflicts(
        members=Members(Member("m1", ME, b"", OUR_VERSIONS, 10, State.ALIVE, 0.0), Random(1)),
        came_later=lambda meta: not met,
        tokens=count(1),
        next_number=lambda: 1,
    )
    claim = Alive("m1", 99, AGENT)
    [check] = [item for item in conflicts.second_address(claim, 1.0) if isinstance(item, OpenStream)]
    met.append("m2")
    conflicts.second_address(claim, 1.1)
    answer = PushPull(False, (MemberState("m1", AGENT, b"", 99, State.ALIVE),))
    output, accusation = conflicts.stream_answered(check.token, answer)
    assert (output, accusation) == ([NameConflict("m1", AGENT, ours=True)], None)
