"""The keys of a group, changed under way: no member is ever locked out, and each refusal says what to do."""

import contextlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from gossip.effects import KeysDone, OpenStream, Output, Rejected, Resolve, SaveKeyring, Send
from gossip.errors import WireError
from gossip.group import Group
from gossip.key_messages import KeyAsk, KeySays, Verb
from gossip.key_verdicts import before, result
from gossip.keys import NO_FILE, NO_KEY, KeysRefused
from gossip.ledger_messages import Sender
from gossip.messages import Address, Alive, PushPull, SerfAnswer, SerfKeyAnswer, SerfQuery, SerfState, User
from gossip.wire import (
    Keyring,
    Layers,
    StreamReader,
    decode_packet,
    decode_serf,
    encode_packet,
    encode_serf,
    encode_stream,
    fingerprint,
    key_text,
)
from gossip.wire.keys import KEYS_PREFIX, decode_keys, encode_keys
from gossip.wire.serf import decode_key_answer, decode_key_request, encode_key_answer, encode_key_request
from simulations.world import World

OLD, NEW, THIRD = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 80))
OLD_PRINT, NEW_PRINT = fingerprint(OLD), fingerprint(NEW)
PORT = 7946


class Member:
    """A member on a host of its own, whose disk outlives its process."""

    def __init__(self, net: "Net", name: str, keys: list[bytes], *, kept: bool = True) -> None:
        self.net, self.name = net, name
        self.address = Address(f"10.0.0.{name[1:]}", PORT)
        self.disk = Keyring(keys)
        self.kept = kept
        self.runs = False
        self.done: list[KeysDone] = []
        self.disk_fails = ""
        self.rejected: Counter[str] = Counter()
        self.start()

    def start(self) -> None:
        world = self.net.world
        self.runs = True
        self.layers = Layers(self.disk, b"", world.random(f"nonces {self.name} {world.now}").randbytes)
        self.group = Group(
            name=self.name,
            address=self.address,
            group_name="blue",
            tags={},
            peers=tuple(f"10.0.0.{number}:{PORT}" for number in range(1, self.net.count + 1)),
            random=world.random(f"{self.name} {world.now}"),
            now=world.now,
            wall_offset=1_800_000_000.0,
            keyring=self.disk,
            keyring_kept=self.kept,
        )
        self._timer = 0
        self.perform([])

    def wants(self, verb: Verb, key: str, *without: str) -> str:
        """What the round says of its outcome, waited for; or why nothing was begun."""
        try:
            output = self.group.change_keys(verb, key, without, self.net.world.now)
        except KeysRefused as error:
            return str(error)
        count = len(self.done)
        self.perform(output)
        self.net.world.run_until(lambda: len(self.done) > count, 12.0, f"{verb} at {self.name} is over")
        return self.done[-1].problem

    def perform(self, output: list[Output]) -> None:
        net, now = self.net, self.net.world.now
        for item in [*output, *self.group.flush(now)]:
            match item:
                case Send(address, messages, crc):
                    net.send(self, address, encode_packet(messages, crc, self.layers))
                case OpenStream():
                    net.ask(self, item)
                case Resolve(peer):
                    host, _, port = peer.rpartition(":")
                    self.perform(self.group.resolved(peer, [Address(host, int(port))], now))
                case SaveKeyring(keyring):
                    net.world.after(0.01, self.alive(partial(self._saved, keyring)))
                case Rejected(reason):
                    self.rejected[reason] += 1
                case KeysDone():
                    self.done.append(item)
                case _:
                    pass
        self._timer += 1
        net.world.at(self.group.next_deadline(), self.alive(partial(self._tick, self._timer)))

    def _tick(self, timer: int) -> None:
        if timer == self._timer:
            self.perform(self.group.tick(self.net.world.now))

    def alive(self, action: Callable[[], object]) -> Callable[[], object]:
        """`action`, unless this very process has ended by then."""
        group = self.group
        return lambda: self.runs and self.group is group and action()

    def _saved(self, keyring: Keyring) -> None:
        if not self.disk_fails:
            self.disk = keyring
            self.layers = Layers(keyring, b"", self.layers.random_bytes)
        self.perform(self.group.keyring_saved(self.disk_fails, self.net.world.now))
        self.net.check()

    def sees(self) -> set[str]:
        return {self.name, *(member.name for member in self.group.swim.members.present())}


class Net:
    """Members under keys, with loss and cuts. Whoever runs opens what each other one that runs seals."""

    def __init__(self, seed: int, count: int = 5, *, keys: list[bytes] | None = None) -> None:
        self.world = World(seed)
        self.count = count
        self._random = self.world.random("net")
        self.loss = 0.0
        self.island: set[str] = set()
        self.excused: set[str] = set()
        self.recorded: list[bytes] = []
        self.members: dict[str, Member] = {}
        for number in range(1, count + 1):
            self.members[f"m{number}"] = Member(self, f"m{number}", keys or [OLD])

    def check(self) -> None:
        """No member is locked out, running or not, unless an operator gave it up."""
        for one in self.members.values():
            for other in self.members.values():
                if not {one.name, other.name} & self.excused:
                    assert one.disk.primary in other.disk.keys, f"{other.name} cannot read {one.name}"

    def whole(self) -> None:
        everybody = {name for name, member in self.members.items() if member.runs}
        self.world.run_until(
            lambda: all(self.members[name].sees() == everybody for name in everybody), 90.0, "all meet"
        )

    def _path(self, source: Member, address: Address) -> Member | None:
        target = next((m for m in self.members.values() if m.address == address and m.runs), None)
        cut = target is not None and (source.name in self.island) != (target.name in self.island)
        return None if cut else target

    def send(self, source: Member, address: Address, data: bytes) -> None:
        self.recorded.append(data)
        target = self._path(source, address)
        if target is None or self._random.random() < self.loss:
            return

        def arrive() -> None:
            try:
                packet = decode_packet(data, target.layers)
            except WireError:
                return
            target.perform(target.group.packet_received(packet.messages, source.address, self.world.now))

        self.world.after(self._random.uniform(0.0005, 0.02), target.alive(arrive))

    def ask(self, source: Member, effect: OpenStream) -> None:
        def answered(data: bytes | None, reader: StreamReader) -> None:
            try:
                answer = None if data is None else reader.feed(data)
            except WireError:
                answer = None
            if effect.answered:
                source.perform(source.group.stream_answered(effect.token, answer, self.world.now))

        target = self._path(source, effect.address)
        reader = StreamReader(source.layers, answer=True)
        if target is None:
            self.world.after(0.5, source.alive(lambda: answered(None, reader)))
            return
        data = encode_stream(effect.message, source.layers)

        def arrive() -> None:
            said = None
            try:
                message = StreamReader(target.layers).feed(data)
            except WireError:
                message = None
            if message is not None:
                answer, output = target.group.stream_received(message, self.world.now)
                target.perform(output)
                if answer is not None:
                    said = encode_stream(answer, target.layers, answer=True)
            self.world.after(0.005, source.alive(lambda: answered(said, reader)))

        self.world.after(0.005, target.alive(arrive))


def together(seed: int = 1, count: int = 5) -> Net:
    net = Net(seed, count)
    net.whole()
    # Peers that were tried before they ran are tried again.
    net.world.run_for(12.0)
    return net


def holdings(net: Net) -> set[tuple[bytes, ...]]:
    return {member.disk.keys for member in net.members.values()}


# Rotations


def test_a_rotation_changes_all_five_keyrings_and_loses_nobody() -> None:
    net = together()
    first, second = net.members["m1"], net.members["m2"]
    assert first.wants(Verb.INSTALL, key_text(NEW)) == ""
    assert holdings(net) == {(OLD, NEW)}
    assert second.wants(Verb.USE, NEW_PRINT) == ""
    assert holdings(net) == {(NEW, OLD)}
    assert first.wants(Verb.REMOVE, OLD_PRINT) == ""
    assert holdings(net) == {(NEW,)}
    net.world.run_for(60.0)
    assert all(member.sees() == set(net.members) for member in net.members.values())


@pytest.mark.parametrize("seed", range(12))
def test_under_loss_cuts_and_crashes_a_rotation_that_is_repeated_locks_nobody_out(seed: int) -> None:
    net = together(seed)
    net.loss = 0.2
    chance = net.world.random("operator")
    wanted = [(Verb.INSTALL, key_text(NEW)), (Verb.USE, key_text(NEW)), (Verb.REMOVE, key_text(OLD))]
    names = sorted(net.members)

    def misfortune() -> None:
        match chance.randrange(4):
            case 0:
                net.island = set(chance.sample(names, chance.randint(1, 2)))
            case 1:
                net.island = set()
            case 2:
                net.members[chance.choice(names)].runs = False
            case _:
                for member in net.members.values():
                    if not member.runs:
                        member.start()

    ends = net.world.now + 120.0
    while net.world.now < ends:
        # Also in the midst of a round.
        net.world.after(chance.uniform(0.0, 2.0), misfortune)
        operator = net.members[chance.choice([name for name in names if net.members[name].runs] or names)]
        if not operator.runs:
            operator.start()
        verb, key = chance.choice(wanted)
        operator.group.next_deadline()
        with contextlib.suppress(KeysRefused):
            operator.perform(operator.group.change_keys(verb, key, (), net.world.now))
        net.world.run_for(chance.uniform(0.5, 12.0))
        net.check()
    net.loss, net.island = 0.0, set()
    for member in net.members.values():
        if not member.runs:
            member.start()
    net.whole()
    net.world.run_for(25.0)
    for verb, key in wanted:
        assert net.members["m3"].wants(verb, key) == ""
    assert holdings(net) == {(NEW,)}


def test_a_member_that_was_down_while_a_key_was_installed_is_named_when_it_shall_be_used() -> None:
    net = together()
    net.members["m4"].runs = False
    net.world.run_for(20.0)
    said = net.members["m1"].wants(Verb.INSTALL, key_text(NEW))
    assert "m4 (is dead)" in said
    assert "m4 (is dead)" in net.members["m1"].wants(Verb.USE, NEW_PRINT)
    net.members["m4"].start()
    net.whole()
    said = net.members["m1"].wants(Verb.USE, NEW_PRINT)
    assert "m4 has not the key" in said
    assert "nothing was changed" in said
    assert {member.disk.primary for member in net.members.values()} == {OLD}
    assert net.members["m1"].wants(Verb.INSTALL, NEW_PRINT) == ""
    assert net.members["m1"].wants(Verb.USE, NEW_PRINT) == ""


def test_who_never_comes_back_can_be_given_up_by_name() -> None:
    net = together()
    net.members["m4"].runs = False
    net.excused = {"m4"}
    net.world.run_for(20.0)
    first = net.members["m1"]
    first.wants(Verb.INSTALL, key_text(NEW))
    assert first.wants(Verb.USE, NEW_PRINT, "m4") == ""
    assert {member.disk.primary for name, member in net.members.items() if name != "m4"} == {NEW}


def test_a_key_that_somebody_uses_is_removed_nowhere() -> None:
    net = together(count=3)
    first = net.members["m1"]
    assert first.wants(Verb.INSTALL, key_text(NEW)) == ""
    said = first.wants(Verb.REMOVE, OLD_PRINT)
    assert f"{OLD_PRINT} is in use on m1, m2, m3" in said
    assert holdings(net) == {(OLD, NEW)}


def test_a_member_that_cannot_write_its_file_goes_on_under_its_keys_and_is_named() -> None:
    net = together(count=3)
    net.members["m2"].disk_fails = "No space left on device"
    said = net.members["m1"].wants(Verb.INSTALL, key_text(NEW))
    assert "m2 (cannot write its keyring: No space left on device)" in said
    assert net.members["m2"].group.keys.fingerprints == (OLD_PRINT,)
    assert "m2 has not the key" in net.members["m1"].wants(Verb.USE, NEW_PRINT)


def test_two_operators_at_once_are_told_so() -> None:
    net = together(count=3)
    one, other = net.members["m1"], net.members["m2"]
    one.perform(one.group.change_keys(Verb.INSTALL, key_text(NEW), (), net.world.now))
    with pytest.raises(KeysRefused, match="another change"):
        one.group.change_keys(Verb.INSTALL, key_text(NEW), (), net.world.now)
    assert "m1 (another change of keys is under way" in other.wants(Verb.INSTALL, key_text(THIRD))


def test_no_text_of_a_round_tells_a_key() -> None:
    net = together(count=3)
    net.members["m2"].kept = False
    net.members["m3"].runs = False
    texts = [net.members["m1"].wants(verb, key_text(NEW)) for verb in Verb if verb is not Verb.LIST]
    done = net.members["m1"].done
    assert all(texts)
    assert key_text(NEW) not in repr((texts, done))
    assert key_text(OLD) not in repr(done)


# What is refused at once


def group(keyring: Keyring | None, *, kept: bool) -> Group:
    return Group(
        name="m1",
        address=Address("10.0.0.1", PORT),
        group_name="blue",
        tags={},
        random=Random(1),
        now=0.0,
        wall_offset=1_800_000_000.0,
        keyring=keyring,
        keyring_kept=kept,
    )


def test_without_a_key_and_without_a_file_the_remedy_is_said() -> None:
    with pytest.raises(KeysRefused, match="kcm keys generate") as refused:
        group(None, kept=False).change_keys(Verb.LIST, "", (), 1.0)
    assert str(refused.value) == NO_KEY
    in_settings = group(Keyring([OLD]), kept=False)
    with pytest.raises(KeysRefused, match="keyring_file") as refused:
        in_settings.change_keys(Verb.INSTALL, key_text(NEW), (), 1.0)
    assert str(refused.value) == NO_FILE
    [done] = in_settings.change_keys(Verb.LIST, "", (), 1.0)
    assert done == KeysDone(Verb.LIST, "", (("m1", (OLD_PRINT,)),), ())


@pytest.mark.parametrize("text", ["", "not base64!", NEW_PRINT, key_text(NEW)[:-8]])
def test_what_is_neither_a_key_nor_a_known_fingerprint_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(KeysRefused, match="kcm keys list") as refused:
        group(Keyring([OLD]), kept=True).change_keys(Verb.USE, text, (), 1.0)
    assert not text or text not in str(refused.value)


def test_what_was_not_asked_for_is_in_no_verdict() -> None:
    found = {"m1": (OLD_PRINT, NEW_PRINT), "m2": (NEW_PRINT, OLD_PRINT)}
    assert before(Verb.USE, NEW_PRINT, found, {}) == ""
    assert "m1" in before(Verb.REMOVE, OLD_PRINT, found, {})
    assert "m1 (is slow)" in result(Verb.USE, NEW_PRINT, found, {}, {"m1": "is slow", "m2": "is slow"})
    assert "m2 (is slow)" not in result(Verb.USE, NEW_PRINT, found, {}, {"m1": "is slow", "m2": "is slow"})
    assert result(Verb.INSTALL, NEW_PRINT, found, {}, {}) == ""


# With agents

AGENT = Address("10.0.0.9", PORT)


def with_agent() -> Group:
    us = group(Keyring([OLD]), kept=True)
    us.packet_received([Alive("s1", 1, AGENT, b"\xff\x80")], AGENT, 0.5)
    return us


def queries(output: list[Output]) -> list[SerfQuery]:
    users = [
        m
        for item in output
        if isinstance(item, Send) and item.address == AGENT
        for m in item.messages
        if isinstance(m, User) and m.payload[:1] == b"\x04"
    ]
    return [query for user in users if isinstance(query := decode_serf(user.payload), SerfQuery)]


def answers(us: Group, query: SerfQuery, said: SerfKeyAnswer, now: float) -> list[Output]:
    answer = SerfAnswer(query.ltime, query.number, "s1", encode_key_answer(said))
    return us.packet_received([User(encode_serf(answer))], AGENT, now)


def test_an_agent_is_asked_by_serfs_query_again_under_another_number_until_it_answers() -> None:
    us = with_agent()
    output = us.change_keys(Verb.INSTALL, key_text(NEW), (), 1.0)
    [first] = queries(output)
    assert (first.name, first.direct, decode_key_request(first.payload)) == ("_serf_install-key", True, NEW)
    us.keyring_saved("", 1.1)
    [second] = queries(us.tick(1.5))
    assert (second.ltime, second.number) != (first.ltime, first.number)
    [listing] = queries(answers(us, second, SerfKeyAnswer(True), 1.6))
    assert listing.name == "_serf_list-keys"
    said = SerfKeyAnswer(True, "", (key_text(OLD), key_text(NEW)), key_text(OLD))
    [done] = answers(us, listing, said, 1.7)
    assert done == KeysDone(
        Verb.INSTALL, "", (("m1", (OLD_PRINT, NEW_PRINT)), ("s1", (OLD_PRINT, NEW_PRINT))), ()
    )


def test_an_agent_that_does_not_answer_is_named() -> None:
    us = with_agent()
    us.change_keys(Verb.USE, OLD_PRINT, (), 1.0)
    [done] = [item for item in us.tick(4.5) if isinstance(item, KeysDone)]
    assert "s1 (does not answer)" in done.problem


def test_an_agents_query_about_keys_is_carried_out_and_answered() -> None:
    us = with_agent()
    asked = SerfQuery(7, 70, AGENT, "_serf_install-key", encode_key_request(NEW))
    assert us.packet_received([User(encode_serf(asked))], AGENT, 1.0) == [SaveKeyring(Keyring([OLD, NEW]))]
    _, sent = us.keyring_saved("", 1.1)
    assert isinstance(sent, Send)
    [user] = sent.messages
    assert isinstance(user, User)
    answer = decode_serf(user.payload)
    assert isinstance(answer, SerfAnswer)
    assert (answer.ltime, answer.number, answer.sender) == (7, 70, "m1")
    assert decode_key_answer(answer.payload) == SerfKeyAnswer(True)


def test_an_agents_query_that_was_recorded_changes_no_key_of_a_manager_that_has_restarted_since() -> None:
    us = with_agent()
    state = SerfState(2, query_ltime=9)
    us.stream_received(PushPull(False, (), encode_serf(state)), 0.9)
    old = SerfQuery(7, 70, AGENT, "_serf_install-key", encode_key_request(NEW))
    assert us.packet_received([User(encode_serf(old))], AGENT, 1.0) == [Rejected("keys_replayed")]
    listing = SerfQuery(7, 71, AGENT, "_serf_list-keys", encode_key_request(b""))
    assert len(us.packet_received([User(encode_serf(listing))], AGENT, 1.0)) == 1
    new = SerfQuery(9, 72, AGENT, "_serf_install-key", encode_key_request(NEW))
    assert us.packet_received([User(encode_serf(new))], AGENT, 1.1) == [SaveKeyring(Keyring([OLD, NEW]))]


def test_a_query_that_names_no_member_as_its_source_is_not_answered() -> None:
    us = with_agent()
    elsewhere = SerfQuery(7, 70, Address("10.0.0.77", PORT), "_serf_list-keys", encode_key_request(b""))
    assert us.packet_received([User(encode_serf(elsewhere))], AGENT, 1.0) == []


# On the wire

ME, YOU = Sender("m1", 5), Sender("m2", 6)
MESSAGES = [
    KeyAsk(ME, YOU, 3, Verb.INSTALL, NEW),
    KeyAsk(ME, YOU, 4, Verb.LIST),
    KeySays(YOU, 3, "", (OLD_PRINT, NEW_PRINT)),
    KeySays(YOU, 3, "has no key", ()),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_decoding_undoes_encoding(message: KeyAsk | KeySays) -> None:
    assert decode_keys(encode_keys(message)) == message


@pytest.mark.parametrize(
    "payload",
    [
        KEYS_PREFIX,
        KEYS_PREFIX + b"\x90",
        encode_keys(KeyAsk(ME, YOU, 3, Verb.USE, b"short")),
        encode_keys(KeyAsk(ME, YOU, 3, Verb.LIST, NEW)),
        encode_keys(KeySays(YOU, 3, "", ("short",))),
        encode_keys(KeySays(YOU, 3, "", (OLD_PRINT,) * 9)),
        KEYS_PREFIX + b"\x91" * 2000,
    ],
)
def test_anything_else_is_refused_without_telling_what_it_was(payload: bytes) -> None:
    with pytest.raises(WireError) as refused:
        decode_keys(payload)
    assert refused.value.reason == "bad_keys"
    assert refused.value.__cause__ is None


def test_a_recorded_request_is_not_carried_out_again() -> None:
    net = together(count=2)
    one, other = net.members["m1"], net.members["m2"]
    net.recorded = []
    assert one.wants(Verb.INSTALL, key_text(NEW)) == ""
    again = list(net.recorded)
    assert one.wants(Verb.REMOVE, NEW_PRINT) == ""
    assert {other.disk.keys, one.disk.keys} == {(OLD,)}
    rejected = other.rejected["keys_replayed"]
    for data in again:
        net.send(one, other.address, data)
    net.world.run_for(1.0)
    assert other.disk.keys == (OLD,)
    assert other.rejected["keys_replayed"] > rejected
