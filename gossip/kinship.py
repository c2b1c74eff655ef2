"""Who of the members is kin: a process of our own group that keeps the ledger. Metadata alone says it."""

from gossip.errors import WireError
from gossip.ledger_messages import Sender
from gossip.members import Member, Members
from gossip.messages import NodeName
from gossip.wire import decode_tags

TAG_SPEAKS = "kcm"
"""Tag of members that keep the ledger; its value is the ledger's protocol version."""
TAG_GROUP = "kcm_group"
TAG_STARTED = "kcm_start"
"""When the process started: milliseconds since 1970, then random bits, as 16 hexadecimal digits."""
LEDGER_PROTOCOL = "1"

START_RANDOM_BITS = 20
_META_CACHE_MAX = 1024


def start_number(unix_seconds: float, random_bits: int) -> int:
    """A number for a process that starts at `unix_seconds`: the later, the larger."""
    return (int(unix_seconds * 1000) << START_RANDOM_BITS) | (random_bits % (1 << START_RANDOM_BITS))


class Kinship:
    """Reads tags. `me` is how we sign what we say of the ledger."""

    def __init__(self, name: NodeName, group_name: str, start: int) -> None:
        self.group_name = group_name
        self.me = Sender(name, start)
        self._tags: dict[bytes, dict[str, str]] = {}

    def own_tags(self) -> dict[str, str]:
        """What our metadata has to say about us."""
        return {
            TAG_SPEAKS: LEDGER_PROTOCOL,
            TAG_GROUP: self.group_name,
            TAG_STARTED: _start_text(self.me.start),
        }

    def tags(self, meta: bytes) -> dict[str, str]:
        """The tags in `meta`; empty where they cannot be read."""
        tags = self._tags.get(meta)
        if tags is None:
            try:
                tags = decode_tags(meta)
            except WireError:
                tags = {}
            if len(self._tags) >= _META_CACHE_MAX:
                self._tags.clear()
            self._tags[meta] = tags
        return tags

    def is_kin(self, member: Member) -> bool:
        """Whether `member` keeps the ledger of our group."""
        tags = self.tags(member.meta)
        return tags.get(TAG_SPEAKS) == LEDGER_PROTOCOL and tags.get(TAG_GROUP) == self.group_name

    def process_of(self, member: Member) -> Sender:
        """How the process that `member` is now signs."""
        try:
            return Sender(member.name, int(self.tags(member.meta).get(TAG_STARTED, ""), 16))
        except ValueError:
            return Sender(member.name, 0)

    def other_group(self, meta: bytes) -> str | None:
        """The group that `meta` names, if that is not ours; agents name none."""
        group = self.tags(meta).get(TAG_GROUP)
        return None if group == self.group_name else group

    def came_later(self, meta: bytes, *, met_anybody: bool) -> bool:
        """Whether we started after the process of our own name with that `meta`.

        An agent does not say when it started: then whoever has met nobody yet gives way.
        """
        started = self.tags(meta).get(TAG_STARTED)
        return not met_anybody if started is None else _start_text(self.me.start) > started

    def who(self, sender: Sender, members: Members) -> Member | None:
        """The member that signs as `sender`; None for a stranger, and for a second process of its name."""
        member = members.get(sender.name)
        if member is None or member is members.me or not self.is_kin(member):
            return None
        same = self.tags(member.meta).get(TAG_STARTED) == _start_text(sender.start)
        return member if same else None


def _start_text(start: int) -> str:
    return f"{start:016x}"
