"""Who answers us, by UDP and by TCP apart: asked of every member at once, when an operator wants to know.

Pings of memberlist's own, which every member answers, of whatever kind and version.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf

from gossip.effects import OpenStream, Output, Reached, ReachedMember, Send
from gossip.members import Member, Members
from gossip.messages import Ack, Address, NodeName, Ping, State, StreamMessage

REACH_SECONDS = 2.0
"""Who has not answered by then counts as silent."""
ASKED_MAX = 256
"""Members that are asked; strangers may have made thousands."""
_REPEAT_SECONDS = 0.5


@dataclass(slots=True)
class _Asked:
    name: NodeName
    address: Address
    state: State
    number: int
    udp: float | None = None
    tcp: float | None = None
    tcp_why: str = ""
    tcp_over: bool = False

    @property
    def over(self) -> bool:
        return self.udp is not None and self.tcp_over


@dataclass(slots=True)
class _Round:
    started: float
    left_out: int
    repeat_at: float
    asked: dict[int, _Asked] = field(default_factory=dict)
    """By the number of the ping."""


class Reach:
    """One round at a time: whoever asks meanwhile has the answers of the one under way."""

    def __init__(self, *, members: Members, tokens: Iterator[int], next_number: Callable[[], int]) -> None:
        self._members = members
        self._tokens = tokens
        self._next_number = next_number
        self._round: _Round | None = None
        self._streams: dict[int, int] = {}

    def begin(self, now: float) -> list[Output]:
        """Ask all who have not left; `Reached` follows within `REACH_SECONDS`."""
        if self._round is not None:
            return []
        others = [member for member in self._members.others() if member.state is not State.LEFT]
        # Who runs comes first.
        others.sort(key=lambda member: member.state)
        wanted = others[:ASKED_MAX]
        self._round = _Round(now, len(others) - len(wanted), now + _REPEAT_SECONDS)
        output: list[Output] = []
        for member in wanted:
            output += self._ask(self._round, member)
        return output or self._end_if_over(now)

    def _ask(self, round_: _Round, member: Member) -> list[Output]:
        number, token = self._next_number(), next(self._tokens)
        round_.asked[number] = asked = _Asked(member.name, member.address, member.state, number)
        self._streams[token] = number
        return [self._ping(asked), OpenStream(token, member.address, self._message(asked), REACH_SECONDS)]

    def _message(self, asked: _Asked) -> Ping:
        return Ping(asked.number, asked.name, self._members.me.address, self._members.me.name)

    def _ping(self, asked: _Asked) -> Send:
        return Send(asked.address, (self._message(asked),))

    # What arrives

    def ack(self, number: int, now: float) -> list[Output] | None:
        """An answer by UDP; None where it is none to a ping of ours."""
        if self._round is None or (asked := self._round.asked.get(number)) is None:
            return None
        if asked.udp is None:
            asked.udp = now - self._round.started
        return self._end_if_over(now)

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._streams

    def stream_answered(self, token: int, answer: StreamMessage | None, why: str, now: float) -> list[Output]:
        """The outcome of a ping by TCP."""
        number = self._streams.pop(token)
        if self._round is None or (asked := self._round.asked.get(number)) is None:
            return []
        asked.tcp_over = True
        if answer == Ack(number):
            asked.tcp = now - self._round.started
        else:
            asked.tcp_why = why or "what answers there is another member"
        return self._end_if_over(now)

    # Time

    def next_deadline(self) -> float:
        """The latest time at which `tick` wants to be called."""
        return inf if self._round is None else self._round.repeat_at

    def tick(self, now: float) -> list[Output]:
        """Ask those again who have not answered by UDP: a datagram may be lost; and end in time."""
        round_ = self._round
        if round_ is None or now < round_.repeat_at:
            return []
        # The last of the repetitions is the end itself.
        if now - round_.started >= REACH_SECONDS:
            return self._over(round_)
        round_.repeat_at = min(now + _REPEAT_SECONDS, round_.started + REACH_SECONDS)
        return [self._ping(asked) for asked in round_.asked.values() if asked.udp is None]

    def _end_if_over(self, now: float) -> list[Output]:
        round_ = self._round
        assert round_ is not None
        return self._over(round_) if all(asked.over for asked in round_.asked.values()) else []

    def _over(self, round_: _Round) -> list[Output]:
        self._round = None
        silent = f"no answer within {REACH_SECONDS:g} s"
        answers = tuple(
            ReachedMember(
                asked.name,
                asked.address,
                asked.state,
                asked.udp,
                asked.tcp,
                "" if asked.tcp is not None else asked.tcp_why or silent,
            )
            for asked in sorted(round_.asked.values(), key=lambda asked: asked.name)
        )
        return [Reached(answers, round_.left_out)]
