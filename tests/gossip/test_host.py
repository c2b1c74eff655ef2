"""The sockets of a member: what strangers send is bounded, counted, and disturbs no exchange."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import gossip.host
from gossip.effects import OpenStream, Send
from gossip.host import STREAMS_MAX, GossipSockets
from gossip.messages import Ack, Address, Message, Ping, PushPull, StreamError, StreamMessage
from gossip.wire import PLAIN, Keyring, Layers, StreamReader, encode_packet, encode_stream


class Member:
    """Sockets on a free port of 127.0.0.1, which answer every ping by TCP."""

    def __init__(self, layers: Layers = PLAIN) -> None:
        self.packets: list[tuple[tuple[Message, ...], Address]] = []
        self.rejected: Counter[str] = Counter()
        self.near = True
        self.why = ""
        self.sockets = GossipSockets(
            packet=lambda messages, sender: self.packets.append((messages, sender)),
            stream=self._answer,
            rejected=lambda reason, peer: self.rejected.update([reason]),
            near=lambda ip: self.near,
            layers=layers,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = Address("127.0.0.1", free.getsockname()[1])

    @staticmethod
    async def _answer(message: StreamMessage) -> StreamMessage | None:
        return Ack(message.number) if isinstance(message, Ping) else None

    async def ask(self, to: "Member", patience: float = 5.0) -> StreamMessage | None:
        answered: asyncio.Future[StreamMessage | None] = asyncio.get_running_loop().create_future()

        def told(answer: StreamMessage | None, why: str) -> None:
            # Whoever has no answer knows why.
            assert (answer is None) == bool(why)
            self.why = why
            answered.set_result(answer)

        self.sockets.ask(OpenStream(1, to.address, Ping(9, ""), patience), told)
        return await answered

    async def until_rejected(self, reason: str, count: int = 1) -> None:
        for _ in range(1000):
            if self.rejected[reason] >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"not within ten seconds: {self.rejected}")

    async def until_heard(self, count: int = 1) -> None:
        for _ in range(1000):
            if len(self.packets) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"nothing was heard within ten seconds: {self.rejected}")


@asynccontextmanager
async def opened(*layers: Layers) -> AsyncIterator[list[Member]]:
    """One member for each of `layers`."""
    members = [Member(each) for each in layers]
    for member in members:
        await member.sockets.open(*member.address)
    try:
        yield members
    finally:
        for member in members:
            await member.sockets.close()


@pytest.fixture
async def members() -> AsyncIterator[tuple[Member, Member]]:
    async with opened(PLAIN, PLAIN) as (left, right):
        yield left, right


async def test_streams_come_from_the_address_that_we_bind_as_datagrams_do() -> None:
    """A firewall that lets the one through lets the other: many hosts have several addresses."""
    async with opened(PLAIN) as [right]:
        left, seen = Member(), set[str]()
        left.address = Address("127.0.0.7", left.address.port)
        right.sockets._near = lambda ip: not seen.add(ip)  # type: ignore[func-returns-value]
        await left.sockets.open(*left.address)
        try:
            assert await left.ask(right) == Ack(9)
            left.sockets.send(Send(right.address, (Ping(1, ""),)))
            await right.until_heard()
        finally:
            await left.sockets.close()
        assert seen == {"127.0.0.7"}


async def test_a_packet_arrives_with_the_gossip_address_of_its_sender(members: tuple[Member, Member]) -> None:
    left, right = members
    left.sockets.send(Send(right.address, (Ping(1, "m2"), Ack(2)), crc=True))
    for _ in range(500):
        if right.packets:
            break
        await asyncio.sleep(0.01)
    assert right.packets == [((Ping(1, "m2"), Ack(2)), left.address)]


async def test_a_stream_is_answered(members: tuple[Member, Member]) -> None:
    left, right = members
    assert await left.ask(right) == Ack(9)


async def test_where_nobody_listens_the_answer_is_none_at_once(members: tuple[Member, Member]) -> None:
    left, right = members
    await right.sockets.close()
    async with asyncio.timeout(2):
        assert await left.ask(right) is None


async def test_where_nobody_answers_the_answer_is_none_in_time(members: tuple[Member, Member]) -> None:
    left, right = members
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        right.address = Address("127.0.0.1", deaf.getsockname()[1])
        async with asyncio.timeout(2):
            assert await left.ask(right, patience=0.2) is None


async def test_noise_is_counted_and_the_next_exchange_works(members: tuple[Member, Member]) -> None:
    left, right = members
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for length in range(200):
            udp.sendto(bytes((length * 31 + at) % 256 for at in range(length)), right.address)
    for noise in (b"\xff" * 100_000, b"GET / HTTP/1.1\r\n\r\n", b"\x09\x82", b"\x06\xdf\xff\xff\xff\xff"):
        _, writer = await asyncio.open_connection(*right.address)
        writer.write(noise)
        writer.close()
    await right.until_rejected("http")
    await right.until_rejected("bad_type", 150)
    assert await left.ask(right) == Ack(9)


async def test_a_slow_writer_is_cut_off(
    members: tuple[Member, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip.host, "STREAM_SECONDS_MAX", 0.2)
    left, right = members
    _, writer = await asyncio.open_connection(*right.address)
    writer.write(encode_stream(PushPull(True, (), b"x" * 1000))[:20])
    await right.until_rejected("too_slow")
    writer.close()
    assert await left.ask(right) == Ack(9)


async def test_more_silent_connections_than_are_served_are_closed_unread(
    members: tuple[Member, Member],
) -> None:
    left, right = members
    writers = [(await asyncio.open_connection(*right.address))[1] for _ in range(STREAMS_MAX + 20)]
    await right.until_rejected("too_many_streams", 20)
    left.sockets.send(Send(right.address, (Ping(1, "m2"),)))
    for writer in writers:
        writer.close()
    for _ in range(500):
        if await left.ask(right) == Ack(9):
            break
        await asyncio.sleep(0.01)
    assert right.packets


@pytest.mark.parametrize("sealed", [False, True])
async def test_what_unfinished_streams_hold_is_bounded(monkeypatch: pytest.MonkeyPatch, sealed: bool) -> None:
    monkeypatch.setattr(gossip.host, "HELD_BYTES_MAX", 1_000_000)
    monkeypatch.setattr(gossip.host, "LITTLE_BYTES", 1_000)
    layers = Layers(Keyring([bytes(16)]), b"", os.urandom) if sealed else PLAIN
    begun = encode_stream(PushPull(True, (), b"x" * 800_000), layers)[:-1]
    async with opened(layers, layers) as (member, other):
        writers = []
        for _ in range(3):
            _, writer = await asyncio.open_connection(*member.address)
            writers.append(writer)
            writer.write(begun)
        await member.until_rejected("too_many_bytes", 2)
        # Whoever sends little is served meanwhile.
        assert await other.ask(member) == Ack(9)
        for writer in writers:
            writer.close()


async def test_far_addresses_are_not_read(members: tuple[Member, Member]) -> None:
    left, right = members
    right.near = False
    left.sockets.send(Send(right.address, (Ping(1, "m2"),)))
    assert await left.ask(right) is None
    await right.until_rejected("not_near", 2)
    assert right.packets == []


async def test_what_the_network_refuses_to_send_is_lost_and_nothing_else(
    members: tuple[Member, Member],
) -> None:
    """Row B6: the core waits for an answer as if it had been sent, and judges by that."""
    left, right = members
    for host in ("255.255.255.255", "240.0.0.1", "0.0.0.0"):
        left.sockets.send(Send(Address(host, 7946), (Ping(1, "m2"),)))
    left.sockets.send(Send(right.address, (Ping(2, "m2"),)))
    await right.until_heard()
    assert await left.ask(right) == Ack(9)


# Under a key, and with a label


def with_key(size: int, label: bytes = b"", *more: int) -> Layers:
    keys = [bytes((length,)) * length for length in (size, *more)]
    return Layers(Keyring(keys), label, os.urandom)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (with_key(16), with_key(16)),
        (with_key(24), with_key(24)),
        (with_key(32), with_key(32)),
        (with_key(32, b"blue"), with_key(32, b"blue")),
        (Layers(label=b"blue"), Layers(label=b"blue")),
        (with_key(16, b"", 32), with_key(32, b"", 16)),
    ],
    ids=["AES-128", "AES-192", "AES-256", "key and label", "label", "amid a rotation"],
)
async def test_members_of_one_group_understand_each_other(left: Layers, right: Layers) -> None:
    async with opened(left, right) as (one, other):
        one.sockets.send(Send(other.address, (Ping(1, "m2"), Ack(2)), crc=True))
        assert await one.ask(other) == Ack(9)
        assert await other.ask(one) == Ack(9)
        await other.until_heard()
        assert other.packets == [((Ping(1, "m2"), Ack(2)), one.address)]
        assert not one.rejected
        assert not other.rejected


@pytest.mark.parametrize(
    ("ours", "theirs", "here", "there"),
    [
        (with_key(16), PLAIN, "plaintext", "encrypted"),
        (with_key(16), with_key(32), "undecryptable", "undecryptable"),
        (with_key(16), with_key(32, b"", 16), "undecryptable", "error_answered"),
        (PLAIN, with_key(16), "encrypted", "plaintext"),
        (with_key(16, b"blue"), with_key(16), "label", ""),
        (Layers(label=b"blue"), Layers(label=b"red"), "label", ""),
        (PLAIN, Layers(label=b"red"), "label", ""),
    ],
    ids=[
        "no key",
        "another key",
        "another first key",
        "a key where none is",
        "no label",
        "another label",
        "a label",
    ],
)
async def test_who_is_not_of_the_group_gets_no_answer_and_both_sides_know_why(
    ours: Layers, theirs: Layers, here: str, there: str
) -> None:
    async with opened(ours, theirs) as (member, stranger):
        assert await stranger.ask(member) is None
        assert member.rejected == {here: 1}
        assert stranger.rejected == ({there: 1} if there else {})
        stranger.sockets.send(Send(member.address, (Ping(1, "m1"),)))
        if here != "encrypted":
            await member.until_rejected(here, 2)
        assert member.packets == []


async def test_a_stream_that_cannot_be_opened_is_told_why_in_our_own_layers() -> None:
    layers = with_key(32, b"blue")
    async with opened(layers) as [member]:
        reader, writer = await asyncio.open_connection(*member.address)
        writer.write(encode_stream(Ping(1, "m1"), Layers(label=b"blue")))
        answer = StreamReader(layers, answer=True).feed(await reader.read())
        writer.close()
        assert isinstance(answer, StreamError)
        assert "plain text" in answer.text


async def test_a_packet_that_was_recorded_is_not_taken_again() -> None:
    layers = with_key(32)
    async with opened(layers) as [member]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            recorded = encode_packet([Ping(1, "m1")], layers=layers)
            for _ in range(3):
                udp.sendto(recorded, member.address)
            udp.sendto(encode_packet([Ping(1, "m1")], layers=layers), member.address)
        await member.until_heard(2)
        assert member.rejected == {"replayed": 2}


async def test_noise_under_a_key_is_counted_and_the_next_exchange_works() -> None:
    layers = with_key(32)
    async with opened(layers, layers) as (member, other):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for length in range(200):
                udp.sendto(bytes((length * 31 + at) % 256 for at in range(length)), member.address)
        for noise in (b"\x0a\xff\xff\xff\xff", b"\x0a\x00\x00\x00\x00", b"\x0a\x00\x00\x00\x40" + bytes(64)):
            reader, writer = await asyncio.open_connection(*member.address)
            writer.write(noise)
            await reader.read()
            writer.close()
        await member.until_rejected("undecryptable", 150)
        assert member.rejected["too_big"] == 1
        assert await other.ask(member) == Ack(9)
