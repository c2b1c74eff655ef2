"""How news travels: beside every message to a member, and in rounds of gossip to a few of them."""

from math import inf

from gossip.broadcasts import Broadcasts, transmit_limit
from gossip.config import GossipConfig
from gossip.effects import Output, Send
from gossip.members import Members
from gossip.messages import Address, Alive, Dead, Message, State, Suspect, User
from gossip.wire import COMPOUND_OVERHEAD, PART_OVERHEAD, PARTS_MAX, encode_message


class Teller:
    """Fills packets with the news that waits in `broadcasts`."""

    def __init__(self, members: Members, config: GossipConfig) -> None:
        self.broadcasts = Broadcasts()
        self._members = members
        self._config = config
        self._told_at = -inf

    def tell(self, claim: Alive | Suspect | Dead) -> None:
        """Tell everyone, instead of what was told of this member."""
        self.broadcasts.queue(("member", claim.node), claim)

    def pass_on(self, digest: str, message: User) -> bool:
        """Tell others what is none of our business; false where it cannot be."""
        return self.broadcasts.pass_on(digest, message, self._room())

    def send(self, address: Address, message: Message) -> Send:
        """`message`, and what news fits beside it where a member lives: strangers would use it up."""
        if not self.broadcasts or self._members.at(address) is None:
            return Send(address, (message,))
        room = self._room() - PART_OVERHEAD - len(encode_message(message))
        news = self.broadcasts.take(room, PART_OVERHEAD, self.limit(), PARTS_MAX - 1)
        return Send(address, (message, *news))

    def next_deadline(self) -> float:
        """When the next round is due."""
        if not self.broadcasts:
            return inf
        fresh = self.broadcasts.has_fresh and self._members.present()
        return self._told_at + (self._config.gossip_fresh_gap if fresh else self._config.gossip_interval)

    def tick(self, now: float) -> list[Output]:
        """A round, if one is due."""
        if now < self.next_deadline():
            return []
        self._told_at = now
        candidates = self._members.present()
        if self._members.lost:
            candidates = [
                m
                for m in self._members.others()
                if m.present or (m.state is State.DEAD and now - m.changed < self._config.gossip_to_dead)
            ]
        output: list[Output] = []
        for member in self._members.sample(self._config.gossip_nodes, candidates):
            # What is told to the dead is told to nobody.
            counted = member.present
            news = self.broadcasts.take(self._room(), PART_OVERHEAD, self.limit(), PARTS_MAX, counted=counted)
            if not news:
                break
            output.append(Send(member.address, tuple(news)))
        return output

    def limit(self) -> int:
        """Into how many packets each piece of news is put."""
        return transmit_limit(self._members.size, self._config.retransmit_mult)

    def _room(self) -> int:
        """For the messages of a packet that has more than one."""
        return self._config.packet_bytes_max - COMPOUND_OVERHEAD
