"""The sockets of a member: what strangers send is bounded, counted, and disturbs no exchange."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest

import gossip.host
from gossip.effects import OpenStream, Send
from gossip.host import STREAMS_MAX, GossipSockets
from gossip.messages import Ack, Address, Message, Ping, PushPull, StreamMessage
from gossip.wire import encode_stream


class Member:
    """Sockets on a free port of 127.0.0.1, which answer every ping by TCP."""

    def __init__(self) -> None:
        self.packets: list[tuple[tuple[Message, ...], Address]] = []
        self.rejected: Counter[str] = Counter()
        self.near = True
        self.sockets = GossipSockets(
            packet=lambda messages, sender: self.packets.append((messages, sender)),
            stream=self._answer,
            rejected=lambda reason, peer: self.rejected.update([reason]),
            near=lambda ip: self.near,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = Address("127.0.0.1", free.getsockname()[1])

    @staticmethod
    def _answer(message: StreamMessage) -> StreamMessage | None:
        return Ack(message.number) if isinstance(message, Ping) else None

    async def ask(self, to: "Member", patience: float = 5.0) -> StreamMessage | None:
        answered: asyncio.Future[StreamMessage | None] = asyncio.get_running_loop().create_future()
        self.sockets.ask(OpenStream(1, to.address, Ping(9, ""), patience), answered.set_result)
        return await answered

    async def until_rejected(self, reason: str, count: int = 1) -> None:
        for _ in range(1000):
            if self.rejected[reason] >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"not within ten seconds: {self.rejected}")


@pytest.fixture
async def members() -> AsyncIterator[tuple[Member, Member]]:
    pair = Member(), Member()
    for member in pair:
        await member.sockets.open(*member.address)
    yield pair
    for member in pair:
        await member.sockets.close()


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


async def test_far_addresses_are_not_read(members: tuple[Member, Member]) -> None:
    left, right = members
    right.near = False
    left.sockets.send(Send(right.address, (Ping(1, "m2"),)))
    assert await left.ask(right) is None
    await right.until_rejected("not_near", 2)
    assert right.packets == []


async def test_a_name_is_looked_up_and_an_unknown_one_gives_nothing(members: tuple[Member, Member]) -> None:
    left, _ = members
    found: list[list[Address]] = []
    left.sockets.look_up("127.0.0.1:7946", found.append)
    left.sockets.look_up("no-such-host.invalid:7946", found.append)
    for _ in range(1000):
        if len(found) == 2:
            break
        await asyncio.sleep(0.01)
    assert sorted(found) == [[], [Address("127.0.0.1", 7946)]]
