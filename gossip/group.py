"""One member of a group: membership, Serf's intents and the ledger in one state machine.

It answers what arrives with outputs: effects that the shell carries out in order, and events that tell
the caller what is new. It has no socket, no clock and no entropy of its own.
"""

from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import count
from math import inf
from random import Random

from gossip.config import LAN, GossipConfig
from gossip.effects import Departed, MemberChanged, OpenStream, Output, Rejected, Send
from gossip.errors import ForceLeaveRefused, WireError
from gossip.key_messages import Verb
from gossip.keys import Keys
from gossip.kinship import Kinship, start_number
from gossip.ledger import GENERATION_SHIFT, Ledger, generation_above, generation_at
from gossip.members import Member
from gossip.memory import NO_MEMORY, Memory
from gossip.messages import Address, Message, NodeName, PushPull, State, StreamMessage, User
from gossip.pages import Piece
from gossip.reconcile import Reconciler, former_page
from gossip.serf import Serf
from gossip.swim import Swim
from gossip.wire import Keyring, encode_serf, encode_tags
from gossip.wire.keys import KEYS_PREFIX
from gossip.wire.ledger import PREFIX


class Group:
    """A member of the group `group_name`. Kin are the members of the same group that keep the ledger."""

    def __init__(
        self,
        *,
        name: NodeName,
        address: Address,
        group_name: str,
        tags: dict[str, str],
        peers: tuple[str, ...] = (),
        config: GossipConfig = LAN,
        random: Random,
        now: float,
        wall_offset: float,
        keyring: Keyring | None = None,
        keyring_kept: bool = False,
        memory: Memory = NO_MEMORY,
    ) -> None:
        """`wall_offset`: what to add to `now` to get seconds since 1970; `adjust_clock` when that changes.

        `keyring` is what the shell seals by; `keyring_kept`, whether it can carry out `SaveKeyring`.
        """
        self.name = name
        self.group_name = group_name
        self._wall_offset = wall_offset
        self._config = config
        wall = self.wall(now)
        self._kinship = Kinship(name, group_name, start_number(wall, random.getrandbits(32)))
        tokens = count(1)
        self.swim = Swim(
            name=name,
            address=address,
            meta=encode_tags({**tags, **self._kinship.own_tags()}),
            # From the clock: a restarted member is believed at once, and old accusations stay old.
            incarnation=max(1, int(wall), memory.incarnation + 1),
            came_later=self._came_later,
            group_of=self._kinship.other_group,
            tokens=tokens,
            wall=self.wall,
            peers=peers,
            remembered=tuple(map(str, memory.members)),
            config=config,
            random=random,
            now=now,
        )
        self.before = None if memory.own is None else former_page(memory.own)
        """What stood on our page when we last ran, as far as we kept it ourselves."""
        self.ledger = Ledger(name, _generation(memory.own, wall, random), config.tombstones_max)
        self.ledger.recall(memory.copies, memory.former)
        self._reconciler = Reconciler(
            ledger=self.ledger,
            members=self.swim.members,
            kinship=self._kinship,
            tokens=tokens,
            config=config,
            random=random,
            now=now,
        )
        self.keys = Keys(
            kinship=self._kinship,
            members=self.swim.members,
            unmet=self.swim.rejoin.unmet,
            keyring=keyring,
            kept=keyring_kept,
            random=random,
        )
        self._serf = Serf(name, self.swim, self.keys)
        self._farewells: deque[tuple[float, Message | None]] = deque()
        """When to say what on the way out; None is the departure itself."""
        self._departure_by = inf
        """When the departure is told at the latest, once we leave."""
        self._departs_at = inf
        self.swim.announce()

    def wall(self, now: float) -> float:
        """Seconds since 1970 at `now`."""
        return now + self._wall_offset

    def adjust_clock(self, wall_offset: float) -> None:
        """The wall clock was set."""
        self._wall_offset = wall_offset

    # Who is in it

    @property
    def reconciled(self) -> bool:
        """Whether we have all that some other member had at some time since we started."""
        return self._reconciler.reconciled

    def tags(self, member: Member) -> dict[str, str]:
        """The tags in `member`'s metadata; empty where they cannot be read."""
        return self._kinship.tags(member.meta)

    def is_kin(self, member: Member) -> bool:
        """Whether `member` keeps the ledger of our group."""
        return self._kinship.is_kin(member)

    def kin(self) -> list[Member]:
        """The other members of our group that count as running."""
        return self._reconciler.kin()

    @property
    def kin_names(self) -> AbstractSet[NodeName]:
        """Their names, as they are now: it changes as they come and go."""
        return self._reconciler.kin_names

    def _among_kin(self) -> bool:
        return all(map(self.is_kin, self.swim.members.present()))

    def _came_later(self, meta: bytes) -> bool:
        return self._kinship.came_later(meta, met_anybody=bool(self.swim.members.present()))

    # What arrives

    def packet_received(self, messages: Iterable[Message], sender: Address, now: float) -> list[Output]:
        """The messages of one datagram."""
        output: list[Output] = []
        for message in messages:
            if isinstance(message, User):
                output += self._user(message.payload, now)
                continue
            for item in self.swim.receive(message, sender, now):
                # What a packet makes us say a hundred times is said once: its sender's address may be forged.
                if not isinstance(item, Send) or item not in output:
                    output.append(item)
        return self._settle(output, now)

    def stream_received(
        self, message: StreamMessage, now: float
    ) -> tuple[StreamMessage | None, list[Output]]:
        """A request by TCP: the answer, None for none, and what follows from it."""
        match message:
            case PushPull():
                serf = self._serf.merge(message.user_state, now)
                table, output = self.swim.table_received(message, now)
                output = self._settle(serf + output, now)
                return replace(table, user_state=self._serf.state), output
            case User(payload) if payload.startswith(PREFIX):
                try:
                    answer, output = self._reconciler.requested(payload, now)
                except WireError as error:
                    return None, [Rejected(error.reason)]
                return answer, self._settle(output, now)
            case User(payload):
                return None, self._settle(self._user(payload, now), now)
            case _:
                return self.swim.ping_received(message), []

    def stream_answered(
        self, token: int, answer: StreamMessage | None, now: float, why: str = ""
    ) -> list[Output]:
        """The outcome of `OpenStream(token)`: its answer, or None where it failed, and why."""
        output: list[Output] = []
        if self.swim.owns_stream(token):
            if isinstance(answer, PushPull):
                output += self._serf.merge(answer.user_state, now)
            output += self.swim.stream_answered(token, answer, now, why)
        elif self._reconciler.owns_stream(token):
            output += self._reconciler.stream_answered(token, answer, now)
        return self._settle(output, now)

    def resolved(self, peer: str, addresses: list[Address], now: float) -> list[Output]:
        """The outcome of `Resolve(peer)`; empty where it failed."""
        return self._settle(self.swim.resolved(peer, addresses, now), now)

    def _user(self, payload: bytes, now: float) -> list[Output]:
        try:
            if payload.startswith(PREFIX):
                return self._reconciler.received(payload, now)
            if payload.startswith(KEYS_PREFIX):
                return self.keys.received(payload, now)
            return self._serf.received(payload, now)
        except WireError as error:
            return [Rejected(error.reason)]

    # Time

    def next_deadline(self) -> float:
        """The latest time at which `tick` wants to be called."""
        return min(
            self.swim.next_deadline(),
            self._reconciler.next_deadline(),
            self.keys.next_deadline(),
            self._departure_by,
            self._departs_at,
            self._farewells[0][0] if self._farewells else inf,
        )

    def tick(self, now: float) -> list[Output]:
        """Whatever has become due by `now`."""
        output = self._tick_leave(now)
        output += self.swim.tick(now)
        output += self._reconciler.tick(now)
        output += self.keys.tick(now)
        return self._settle(output, now)

    def leave(self, now: float) -> list[Output]:
        """Leave the group in good order; `Departed` follows when it has been told.

        Among kin the departure is told as soon as all have what we wrote; agents have to hear of the intent
        first.
        """
        if min(self._departure_by, self._departs_at) < inf:
            return []
        self.swim.leaving = self._reconciler.closed = True
        if not self.swim.members.present():
            self._departs_at = now
            return self.tick(now)
        said = User(encode_serf(self._serf.leave_intent()))
        # Each several times: a lost datagram must not make a leave look like a failure.
        self._farewells.extend((now + self._config.leave_intent * part, said) for part in (0, 0.35, 0.7))
        self.swim.broadcasts.queue(("intent", self.name), said)
        self._departure_by = now + self._config.leave_intent
        return self.tick(now)

    def _tell_departure(self, now: float) -> list[Output]:
        linger = self._config.leave_linger
        self._departure_by = inf
        self._farewells.clear()
        self._farewells.extend((now + linger * part, None) for part in (0, 0.25, 0.5))
        self._departs_at = now + linger
        return self._say_farewells(now)

    def _tick_leave(self, now: float) -> list[Output]:
        output = self._say_farewells(now)
        if self._departure_by <= now:
            output += self._tell_departure(now)
        if self._departs_at <= now:
            self._departs_at = inf
            output.append(Departed())
        return output

    def _say_farewells(self, now: float) -> list[Output]:
        output: list[Output] = []
        while self._farewells and self._farewells[0][0] <= now:
            _, said = self._farewells.popleft()
            if said is None:
                output += self.swim.depart()
            else:
                output += [Send(member.address, (said,)) for member in self.swim.members.present()]
        return output

    def force_leave(self, name: NodeName, now: float, *, prune: bool) -> list[Output]:
        """An operator says that `name`, which is dead, is not expected back: it has left, for every member.

        With `prune` it is no longer listed either. Raises `ForceLeaveRefused`, `KeyError` for a stranger.
        """
        member = self.swim.members.get(name)
        if member is None:
            raise KeyError(name)
        if member is self.swim.members.me:
            raise ForceLeaveRefused(f"{name} is this manager itself: `kcm leave` ends it")
        if member.state is State.ALIVE:
            how = "`kcm leave` there" if self.is_kin(member) else "`serf leave` there"
            raise ForceLeaveRefused(
                f"{name} at {member.address} is alive, and would say so at once: end it by {how}"
            )
        if member.state is State.SUSPECT:
            raise ForceLeaveRefused(
                f"{name} at {member.address} does not answer, but has some seconds left to do so: "
                "try again when it is dead"
            )
        return self._settle(self._serf.force_leave(name, now, prune=prune), now)

    def join(self, address: Address, now: float) -> tuple[int, list[Output]]:
        """Try, once, to meet who is at `address`, and all whom it knows: `JoinTried` of the token follows."""
        token, effect = self.swim.join(address)
        return token, self._settle([effect], now)

    def reach(self, now: float) -> list[Output]:
        """Ask every member for an answer: `Reached` follows."""
        return self._settle(self.swim.reach.begin(now), now)

    # Keys

    def change_keys(self, verb: Verb, key: str, without: Iterable[str], now: float) -> list[Output]:
        """As `Keys.begin`: `KeysDone` follows, or `KeysRefused` is raised."""
        return self._settle(self.keys.begin(verb, key, without, now), now)

    def keyring_saved(self, why: str, now: float) -> list[Output]:
        """The outcome of `SaveKeyring`: why it failed, or empty where it is on disk and in force."""
        return self._settle(self.keys.saved(why, now), now)

    # The ledger

    def flush(self, now: float) -> list[Output]:
        """Tell what was written to our page since the last flush; call it at the end of each turn."""
        output = self._reconciler.flush(now)
        if self._departure_by < inf and self._among_kin():
            if self._reconciler.all_heard:
                output += self._tell_departure(now)
            else:
                output += self._reconciler.ask_all(now)
        return self._settle(output, now)

    def forget_page(self, owner: NodeName, now: float) -> list[Output]:
        """Nobody expects `owner` back: every member lets go of its page as it stands here (L6)."""
        return self._settle(self._reconciler.forget(owner, self.wall(now)), now)

    def let_go(self, now: float) -> list[Output]:
        """Drop the pages that are forgotten, for one who has just put notes back."""
        return self._settle(self._reconciler.let_go(), now)

    def heard_by(self, kin: NodeName, version: int) -> bool:
        """Whether `kin` has answered for our page at `version`, and we hold what it had written by then."""
        return self._reconciler.heard_by(kin, version)

    # After every input

    def _settle(self, output: list[Output], now: float) -> list[Output]:
        """Meet kin that came, and complete what is sent."""
        settled: list[Output] = []
        for item in output:
            settled.append(self._complete(item))
            if isinstance(item, MemberChanged):
                settled += map(self._complete, self._serf.member_changed(item.name, item.after, now))
                came = item.after is State.ALIVE and item.before is not State.SUSPECT
                settled += map(self._complete, self._reconciler.member_changed(item.name, came=came))
        return settled

    def _complete(self, item: Output) -> Output:
        match item:
            case Send(address, messages) if self._takes_crc(address):
                return Send(address, messages, crc=True)
            case OpenStream(message=PushPull() as table):
                return replace(item, message=replace(table, user_state=self._serf.state))
            case _:
                return item

    def _takes_crc(self, address: Address) -> bool:
        member = self.swim.members.at(address)
        return member is not None and member.versions.protocol_max >= 5


def _generation(before: Piece | None, wall: float, random: Random) -> int:
    """That of this start: above the one of our last, also where the clock was set back since."""
    drawn = generation_at(wall, random.getrandbits(32))
    if before is None or drawn > before.generation:
        return drawn
    return generation_above(before.generation, random.getrandbits(GENERATION_SHIFT))
