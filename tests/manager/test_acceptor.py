"""Accepting: whoever does not come to the end of a TLS handshake is counted, and nobody waits for it."""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from manager.acceptor import Acceptor
from manager.tls import Certificate, why_failed
from node.tls import to_managers
from tests.authority import Authority


class Greeting(asyncio.Protocol):
    """Says one word and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"hello")
        transport.close()


class Port:
    def __init__(self, folder: Path, seconds: float = 60.0) -> None:
        self.authority = Authority(folder)
        certificate = Certificate(*map(str, self.authority.issue("m1", "127.0.0.1")))
        self.rejected: Counter[str] = Counter()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.number = self.socket.getsockname()[1]
        self.context = certificate.context
        self.acceptor = Acceptor(Greeting, lambda peer: self.rejected.update([peer]), self.context, seconds)

    async def greets(self) -> bool:
        client = to_managers(str(self.authority.ca))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number, ssl=client)
        try:
            return await reader.read() == b"hello"
        finally:
            writer.close()


@pytest.fixture
async def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    monkeypatch.setattr("manager.acceptor.HANDSHAKES_MAX", 3)
    monkeypatch.setattr("manager.acceptor.FULL_SECONDS", 0.01)
    port = Port(tmp_path)
    yield port
    port.acceptor.close()


async def test_of_one_address_so_many_are_in_their_handshake_and_no_more(port: Port) -> None:
    port.acceptor.open([port.socket])
    silent = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(3)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    async with asyncio.timeout(10.0):
        assert await reader.read() == b""
    assert port.rejected == {"127.0.0.1": 1}
    writer.close()
    silent[0][1].close()
    async with asyncio.timeout(10.0):
        while True:
            try:
                assert await port.greets()
                break
            except OSError:  # until the manager has seen the end of that one
                await asyncio.sleep(0.01)
    for _, held in silent:
        held.close()


async def test_where_no_file_may_be_opened_it_is_tried_again(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept, times = socket.socket.accept, iter([errno.EMFILE, errno.ECONNABORTED])

    def refuse(sock: socket.socket) -> Any:
        if (error := next(times, None)) is not None:
            raise OSError(error, "no")
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", refuse)
    port.acceptor.open([port.socket])
    assert await port.greets()
    assert "raise the limit of open files" in caplog.text


@pytest.mark.parametrize(
    ("speaks", "why"),
    [("http", "does not speak TLS"), ("another authority", "does not believe"), ("nothing", "it hung up")],
)
async def test_a_handshake_that_fails_is_told_with_its_cause(tmp_path: Path, speaks: str, why: str) -> None:
    port, failed = Port(tmp_path), list[str]()
    port.acceptor = Acceptor(
        Greeting, lambda _: None, port.context, 60.0, lambda _, error: failed.append(why_failed(error))
    )
    port.acceptor.open([port.socket])
    if speaks == "another authority":
        other = to_managers(str(Authority(tmp_path, "other").ca))
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await asyncio.open_connection("127.0.0.1", port.number, ssl=other)
    else:
        _, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" if speaks == "http" else b"")
        await writer.drain()
        writer.close()
    async with asyncio.timeout(20.0):
        while not failed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert why in failed[0]
    port.acceptor.close()
