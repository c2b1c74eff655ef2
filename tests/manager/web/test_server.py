"""The HTTP port against whoever is slow, or many."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from manager.web.app import create_app
from manager.web.server import HttpServer
from tests.manager.running import Running

ASK = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Port:
    """The port of a manager, with what was turned away there."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        app = create_app(Running())
        app.router.add_get("/long", self._long)
        self.server = HttpServer(app, self._count)
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.number = self._sock.getsockname()[1]

    def _count(self, where: str, reason: str) -> None:
        self.counts[where, reason] += 1

    async def _long(self, request: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.Response(text="done")

    async def open(self) -> None:
        await self.server.open([self._sock])

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await self.server.close()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    monkeypatch.setattr("manager.web.server.REQUEST_SECONDS_MAX", 0.3)
    port = Port()
    await port.open()
    yield port
    await port.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other end closes within some seconds."""
    try:
        async with asyncio.timeout(5):
            while await reader.read(1000):
                pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("said", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
async def test_who_does_not_come_to_the_point_is_let_go(port: Port, said: bytes) -> None:
    reader, writer = await port.connect()
    writer.write(said)
    assert await ended(reader)
    assert port.counts == {("http", "too_slow"): 1}


async def test_who_dribbles_a_header_is_let_go_all_the_same(port: Port) -> None:
    reader, writer = await port.connect()
    writer.write(ASK[:-2] + b"X: ")
    over = asyncio.create_task(ended(reader))
    while not over.done():
        writer.write(b"x")
        await asyncio.sleep(0.05)
    assert await over
    assert port.counts["http", "too_slow"] == 1


async def test_a_second_request_has_no_more_time_than_the_first(port: Port) -> None:
    reader, writer = await port.connect()
    writer.write(ASK)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.write(ASK[:10])
    assert await ended(reader)
    assert port.counts == {("http", "too_slow"): 1}


async def test_an_answer_of_ours_may_take_its_time(port: Port) -> None:
    async with ClientSession() as http, http.get(f"http://127.0.0.1:{port.number}/long") as answer:
        assert await answer.text() == "done"
    assert port.counts == {}


async def test_one_address_has_so_many_connections_and_no_more(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.web.server.REQUEST_SECONDS_MAX", 60.0)
    monkeypatch.setattr("manager.web.server.CONNECTIONS_MAX", 3)
    held = [await port.connect() for _ in range(3)]
    reader, _ = await port.connect()
    assert await ended(reader)
    assert port.counts == {("http", "too_many_connections"): 1}
    held[0][1].write(ASK)
    assert (await held[0][0].readline()).startswith(b"HTTP/1.1 200")


async def test_a_body_that_does_not_come_is_not_waited_for(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.web.query.BODY_SECONDS_MAX", 0.2)
    reader, writer = await port.connect()
    head = b"POST /api/v1/leave HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(head + b"Content-Length: 20\r\n\r\n{")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 garbage of mine " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"BREW /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["garbage", "a long line", "an unknown method"],
)
async def test_what_is_no_request_is_counted_and_gets_a_short_answer_without_what_was_sent(
    port: Port, sent: bytes
) -> None:
    reader, writer = await port.connect()
    writer.write(sent)
    async with asyncio.timeout(20.0):
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"400", b"405")
    assert b"application/problem+json" in head
    assert b"Server: krakend-cluster-manager\r\n" in head
    assert len(body) < 500
    assert b"garbage of mine" not in answer
    assert b"aaaa" not in answer
    assert sum(port.counts.values()) == 1
