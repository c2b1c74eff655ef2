"""The server that nodes connect to, by real sockets: what strangers and bad nodes may cost, and whom."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import msgpack
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from websockets import Subprotocol
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event
from websockets.uri import parse_uri

import manager.seed.connection
from manager.listeners import ListenError, listen
from manager.seed.connection import UNGREETED_MAX, UNSENT_MESSAGES_MAX
from manager.seed.server import SeedServer
from node.codec import encode
from node.protocol import (
    CLOSE_PROTOCOL,
    CLOSE_REFUSED,
    FRAME_BYTES_MAX,
    PATH,
    SUBPROTOCOL,
    Ask,
    Hello,
    Here,
    Leave,
    NodeMessage,
    Report,
    Reported,
    Welcome,
)
from tests.waiting import until

HELLO = Hello(key=bytes(32), incarnation=1, nonce=1)


class Bench:
    """A seed server on a port of its own, and what it told its owner."""

    def __init__(self) -> None:
        [self.socket] = listen("127.0.0.1", 0, "node_port", both_families=False)
        self.port: int = self.socket.getsockname()[1]
        self.messages: list[tuple[int, NodeMessage]] = []
        self.closed: list[tuple[int, int | None]] = []
        self.rejected: Counter[str] = Counter()
        self.far: set[str] = set()
        self.writers: list[asyncio.StreamWriter] = []
        self.server = SeedServer(
            message=lambda conn, message, peer: self.messages.append((conn, message)),
            closed=lambda conn, code: self.closed.append((conn, code)),
            rejected=lambda reason, peer: self.rejected.update([reason]),
            near=lambda ip: ip not in self.far,
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.server.open([bench.socket])
    yield bench
    for writer in bench.writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    await bench.server.close()


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def dial(bench: Bench, http: ClientSession) -> ClientWebSocketResponse:
    return await http.ws_connect(
        f"http://127.0.0.1:{bench.port}{PATH}", protocols=(SUBPROTOCOL,), max_msg_size=0
    )


async def raw(bench: Bench, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    bench.writers.append(writer)
    writer.write(data)
    return reader, writer


async def test_messages_come_in_and_answers_go_out_on_their_connection(
    bench: Bench, http: ClientSession
) -> None:
    node = await dial(bench, http)
    assert node.protocol == SUBPROTOCOL
    await node.send_bytes(encode(HELLO))
    await until(lambda: bench.messages)
    [(conn, message)] = bench.messages
    assert message == HELLO
    bench.server.send(conn, Reported(number=7))
    assert await node.receive_bytes() == encode(Reported(number=7))
    await node.close()
    await until(lambda: bench.closed)
    assert bench.closed == [(conn, 1000)]


async def resting(bench: Bench, http: ClientSession) -> tuple[int, ClientWebSocketResponse]:
    """A node that has reported, so that it is read together with others."""
    node, before = await dial(bench, http), len(bench.messages)
    await node.send_bytes(encode(HELLO))
    await node.send_bytes(encode(Report(number=1)))
    await until(lambda: len(bench.messages) == before + 2)
    return bench.messages[-1][0], node


async def test_whoever_has_reported_is_heard_again_asked_or_not(bench: Bench, http: ClientSession) -> None:
    conn, node = await resting(bench, http)
    for number in range(2, 5):
        await node.send_bytes(encode(Report(number=number)))
        await until(partial(bench.messages.__contains__, (conn, Report(number=number))))
        bench.server.send(conn, Reported(number=number))
        assert await node.receive_bytes() == encode(Reported(number=number))
    bench.server.send(conn, Ask(number=7))
    assert await node.receive_bytes() == encode(Ask(number=7))
    await node.send_bytes(encode(Here(number=7)))
    await until(lambda: bench.messages[-1] == (conn, Here(number=7)))
    await node.send_bytes(encode(Report(number=5)))
    await until(lambda: bench.messages[-1] == (conn, Report(number=5)))


async def test_whom_the_system_does_not_watch_together_with_others_is_heard_all_the_same(
    bench: Bench, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.server.together, "add", lambda descriptor, heard: False)
    conn, node = await resting(bench, http)
    await node.send_bytes(encode(Report(number=2)))
    await until(lambda: bench.messages[-1] == (conn, Report(number=2)))
    await node.close()
    await until(lambda: bench.closed)


async def test_the_end_of_a_node_that_had_reported_is_noticed(bench: Bench, http: ClientSession) -> None:
    first, leaves = await resting(bench, http)
    await leaves.close(code=4001)
    await until(lambda: bench.closed)
    second, dies = await resting(bench, http)
    response = dies._response.connection
    assert response is not None
    assert response.transport is not None
    response.transport.abort()
    await until(lambda: len(bench.closed) == 2)
    assert bench.closed == [(first, 4001), (second, None)]


async def test_a_node_that_had_reported_can_be_let_go(bench: Bench, http: ClientSession) -> None:
    conn, node = await resting(bench, http)
    bench.server.end(conn, CLOSE_REFUSED, "full")
    message = await node.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, CLOSE_REFUSED)
    assert bench.closed == []


async def test_garbage_after_a_report_ends_its_connection(bench: Bench, http: ClientSession) -> None:
    _, node = await resting(bench, http)
    await node.send_bytes(b"garbage")
    message = await node.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, CLOSE_PROTOCOL)
    assert bench.rejected == {"protocol": 1}


@pytest.mark.parametrize("first", [False, True], ids=["read together", "in line"])
async def test_a_fault_of_ours_with_what_a_node_said_ends_its_connection_and_no_other(
    bench: Bench, http: ClientSession, caplog: pytest.LogCaptureFixture, first: bool
) -> None:
    nodes = [await (dial if first else dial_resting)(bench, http) for _ in range(4)]
    took, faulty = bench.server.message, Report(number=13)

    def takes(conn: int, message: NodeMessage, peer: str) -> None:
        if message == faulty:
            raise RuntimeError("a fault of ours")
        took(conn, message, peer)

    bench.server.message = takes
    for number, node in enumerate(nodes, start=12):
        await node.send_bytes(encode(Report(number=number)))
    for number in (12, 14, 15):
        await until(partial(_said, bench, Report(number=number)))
    await until(lambda: bench.closed)
    for node in (nodes[0], *nodes[2:]):
        await node.send_bytes(encode(Report(number=20)))
    await until(lambda: [message for _, message in bench.messages].count(Report(number=20)) == 3)
    assert len(bench.closed) == 1
    assert "could not be taken" in caplog.text


def _said(bench: Bench, wanted: NodeMessage) -> bool:
    return wanted in [message for _, message in bench.messages]


async def dial_resting(bench: Bench, http: ClientSession) -> ClientWebSocketResponse:
    return (await resting(bench, http))[1]


async def test_who_says_goodbye_and_does_not_read_is_not_waited_for(
    bench: Bench, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager.seed.connection, "CLOSE_SECONDS_MAX", 0.1)
    node = ClientProtocol(parse_uri(f"ws://127.0.0.1:{bench.port}{PATH}"))
    node.send_request(node.connect())
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setblocking(False)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(deaf, ("127.0.0.1", bench.port))
        await loop.sock_sendall(deaf, b"".join(node.data_to_send()))
        node.receive_data(await loop.sock_recv(deaf, 4096))
        assert isinstance(node.events_received()[0], Response)
        node.send_binary(encode(HELLO))
        await loop.sock_sendall(deaf, b"".join(node.data_to_send()))
        await until(lambda: bench.messages)
        big = Welcome(id="x" * 1000, ticket="", incarnation=1, manager="m", managers=("y" * 1000,) * 50)
        for _ in range(UNSENT_MESSAGES_MAX):
            bench.server.send(1, big)
        node.send_close(1000)
        await loop.sock_sendall(deaf, b"".join(node.data_to_send()))
        await until(lambda: bench.closed)
        async with asyncio.timeout(10):
            await bench.server.close()
    assert bench.closed == [(1, 1000)]
    assert not bench.rejected


async def test_who_floods_waits_its_turn_and_keeps_nobody_else_waiting(
    bench: Bench, http: ClientSession
) -> None:
    flood, other = await dial(bench, http), await dial(bench, http)
    for number in range(1, 501):
        await flood.send_bytes(encode(Report(number=number)))
    await until(lambda: bench.rejected["flood"])
    for number in range(1, 4):
        await other.send_bytes(encode(Report(number=number)))
    await until(lambda: len({conn for conn, _ in bench.messages}) == 2)
    assert len([conn for conn, _ in bench.messages if conn == bench.messages[0][0]]) < 100
    assert bench.rejected == {"flood": 1}, "said once"
    assert bench.closed == []


async def test_a_last_word_counts_though_the_connection_ends_with_it(
    bench: Bench, http: ClientSession
) -> None:
    node = await dial(bench, http)
    await node.send_bytes(encode(HELLO))
    await until(lambda: bench.messages)
    await node.send_bytes(encode(Report(number=1)))
    await node.send_bytes(encode(Leave()))
    transport = node.get_extra_info("socket")
    transport.shutdown(socket.SHUT_WR)
    await until(lambda: bench.closed)
    assert [type(message) for _, message in bench.messages] == [Hello, Report, Leave]
    await node.close()


async def test_the_owner_ends_a_connection_after_what_it_sent(bench: Bench, http: ClientSession) -> None:
    node = await dial(bench, http)
    await node.send_bytes(encode(HELLO))
    await until(lambda: bench.messages)
    bench.server.send(1, Reported(number=1))
    bench.server.end(1, CLOSE_REFUSED, "full")
    assert await node.receive_bytes() == encode(Reported(number=1))
    end = await node.receive()
    assert (end.type, end.data, end.extra) == (WSMsgType.CLOSE, CLOSE_REFUSED, "full")
    assert bench.closed == []


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (b"\x07", "[kind"),
        (b"not msgpack \xc1", "MessagePack"),
        (msgpack.packb(["hello", {"incarnation": 1, "nonce": 1}]), "hello.key is missing"),
        (msgpack.packb(["hello", {"key": bytes(32), "incarnation": "one", "nonce": 1}]), "hello.incarnation"),
        (msgpack.packb(["hello", {"key": bytes(32), "incarnation": -1, "nonce": 1}]), "hello.incarnation"),
        (msgpack.packb(["hello", {"key": bytes(5000), "incarnation": 1, "nonce": 1}]), "hello.key"),
        (encode(Welcome(id="x", ticket="", incarnation=1, manager="m")), "a node does not say welcome"),
    ],
)
async def test_a_malformed_message_ends_its_connection_with_the_field_that_is_wrong(
    bench: Bench, http: ClientSession, frame: bytes, named: str
) -> None:
    good = await dial(bench, http)
    await good.send_bytes(encode(HELLO))
    bad = await dial(bench, http)
    await bad.send_bytes(frame)
    end = await bad.receive()
    assert (end.type, end.data) == (WSMsgType.CLOSE, CLOSE_PROTOCOL)
    assert named in str(end.extra)
    assert bench.rejected["protocol"] == 1
    await good.send_bytes(encode(Report(number=1)))
    await until(lambda: len(bench.messages) == 2)


async def test_a_text_frame_ends_its_connection(bench: Bench, http: ClientSession) -> None:
    node = await dial(bench, http)
    await node.send_str("hello")
    end = await node.receive()
    assert (end.type, end.data) == (WSMsgType.CLOSE, CLOSE_PROTOCOL)


async def test_an_oversized_frame_ends_its_connection_and_is_counted(
    bench: Bench, http: ClientSession
) -> None:
    node = await dial(bench, http)
    await node.send_bytes(bytes(FRAME_BYTES_MAX + 1))
    end = await node.receive()
    assert (end.type, end.data) == (WSMsgType.CLOSE, 1009)
    await until(lambda: bench.rejected["oversized_frame"])


async def test_an_unknown_kind_of_message_is_passed_over(bench: Bench, http: ClientSession) -> None:
    """A neighbour of a later version may say more than we know."""
    node = await dial(bench, http)
    await node.send_bytes(msgpack.packb(["novelty", {"x": 1}]))
    await node.send_bytes(encode(HELLO))
    await until(lambda: bench.messages)
    assert bench.closed == []


async def test_a_node_that_does_not_read_is_let_go_and_disturbs_nobody(
    bench: Bench, http: ClientSession
) -> None:
    deaf = await dial(bench, http)
    await deaf.send_bytes(encode(HELLO))
    await until(lambda: len(bench.messages) == 1)
    good = await dial(bench, http)
    await good.send_bytes(encode(HELLO))
    await until(lambda: len(bench.messages) == 2)
    big = Welcome(id="x" * 1000, ticket="", incarnation=1, manager="m", managers=("y" * 1000,) * 50)
    for _ in range(UNSENT_MESSAGES_MAX * 4):
        bench.server.send(1, big)
    await until(lambda: bench.rejected["slow_reader"])
    bench.server.send(2, Reported(number=3))
    assert await good.receive_bytes() == encode(Reported(number=3))
    await until(lambda: [conn for conn, _ in bench.closed] == [1])
    assert bench.rejected == {"slow_reader": 1}, "said once"


async def test_a_connection_that_never_says_hello_is_closed(
    bench: Bench, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager.seed.connection, "HELLO_SECONDS_MAX", 0.2)
    silent, _ = await raw(bench, b"")
    half, _ = await raw(bench, b"GET /v1/node HTTP/1.1\r\nHost: x\r\n")
    upgraded = await dial(bench, http)
    async with asyncio.timeout(5):
        assert await _ended(silent)
        assert await _ended(half)
        assert (await upgraded.receive()).type in (WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR)
    assert bench.rejected["no_hello"] == 3


async def test_one_address_may_not_hold_more_than_its_share_of_connections_without_a_hello(
    bench: Bench, http: ClientSession
) -> None:
    seated = await dial(bench, http)
    await seated.send_bytes(encode(HELLO))
    await until(lambda: bench.messages)
    strangers = [await raw(bench, b"") for _ in range(UNGREETED_MAX)]
    await until(lambda: bench.server.ungreeted["127.0.0.1"] == UNGREETED_MAX)
    refused, writer = await raw(bench, b"")
    async with asyncio.timeout(5):
        assert await _ended(refused)
    assert bench.rejected["too_many_without_hello"] == 1
    await seated.send_bytes(encode(Report(number=1)))
    await until(lambda: len(bench.messages) == 2)
    for _, stranger in [*strangers, (refused, writer)]:
        stranger.close()
    await until(lambda: not bench.server.ungreeted)
    late = await dial(bench, http)
    await late.send_bytes(encode(HELLO))
    await until(lambda: len(bench.messages) == 3)


async def test_seated_sessions_are_not_counted_as_strangers(bench: Bench, http: ClientSession) -> None:
    nodes = [await dial(bench, http) for _ in range(5)]
    for node in nodes:
        await node.send_bytes(encode(HELLO))
    await until(lambda: len(bench.messages) == 5)
    assert not bench.server.ungreeted


async def test_far_addresses_are_turned_away_unread(bench: Bench) -> None:
    bench.far.add("127.0.0.1")
    reader, _ = await raw(bench, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert await _ended(reader)
    assert bench.rejected["not_near"] == 1


async def test_a_gossip_packet_on_this_port_is_recognised(bench: Bench) -> None:
    reader, _ = await raw(bench, b"\x06\x83\xa4Join\xc3")
    async with asyncio.timeout(5):
        assert await _ended(reader)
    assert bench.rejected["memberlist_on_node_port"] == 1


async def test_a_node_that_gave_up_before_it_was_answered_is_counted_and_no_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A manager that stood still for seconds finds such when it goes on."""
    asked = (
        f"GET {PATH} HTTP/1.1\r\nHost: m1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", bench.port)) as node:
        node.sendall(asked.encode())
    await until(lambda: bench.rejected["gone_in_handshake"])
    await asyncio.sleep(0.1)
    assert not caplog.records


async def test_a_message_may_come_in_parts_and_byte_by_byte(bench: Bench) -> None:
    client = ClientProtocol(
        parse_uri(f"ws://127.0.0.1:{bench.port}{PATH}"), subprotocols=[Subprotocol(SUBPROTOCOL)]
    )
    client.send_request(client.connect())
    reader, writer = await raw(bench, b"")

    async def answers() -> list[Event]:
        for byte in b"".join(client.data_to_send()):
            writer.write(bytes([byte]))
            await writer.drain()
        client.receive_data(await reader.read(4096))
        return client.events_received()

    assert isinstance((await answers())[0], Response)
    said = encode(HELLO)
    client.send_binary(said[:5], fin=False)
    client.send_ping(b"are you there")
    client.send_continuation(said[5:9], fin=False)
    client.send_continuation(said[9:], fin=True)
    assert await answers() == [Frame(Opcode.PONG, b"are you there")]
    await until(lambda: bench.messages)
    assert bench.messages == [(1, HELLO)]
    client.send_frame(Frame(Opcode.CONT, b"of what?"))
    [end] = await answers()
    assert isinstance(end, Frame)
    assert Close.parse(end.data).code == CLOSE_PROTOCOL
    assert bench.closed == [(1, CLOSE_PROTOCOL)]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (f"GET {PATH} HTTP/1.1\r\nHost: m1\r\n\r\n", b"426"),
        (f"GET {PATH} HTTP/1.1\r\nHost: m1\r\nX: {'x' * 8000}\r\nY: {'y' * 2000}", b"431"),
        (f"GET {PATH} HTTP/1.1\r\nHost: m1\r\nX: {'x' * 9000}\r\n\r\n", b"431"),
        ("this is no HTTP\r\n\r\n", b""),
    ],
)
async def test_whoever_asks_for_no_websocket_is_told_counted_and_let_go(
    bench: Bench, asked: str, status: bytes
) -> None:
    reader, _ = await raw(bench, asked.encode())
    async with asyncio.timeout(5):
        assert status in (await reader.read()).partition(b"\r\n")[0]
    assert bench.rejected == {"protocol": 1}
    assert bench.closed == []


async def test_a_browser_on_this_port_is_told_where_the_page_is(bench: Bench, http: ClientSession) -> None:
    async with http.get(f"http://127.0.0.1:{bench.port}/") as answer:
        assert answer.status == 404
        assert "9897" in await answer.text()


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def test_a_taken_port_is_explained_with_its_key_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"node_port: 127\.0\.0\.1:{port} is in use.*--node-port"):
            listen("127.0.0.1", port, "node_port", both_families=False)


def test_an_address_that_this_host_does_not_have_is_explained() -> None:
    with pytest.raises(ListenError, match=r"no address 192\.0\.2\.1"):
        listen("192.0.2.1", 7000, "node_port", both_families=False)
