"""Certificates that are replaced while they serve, and who is asked for one."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from manager.cli.client import NoManager, request
from manager.tls import Certificate
from node.link import Link
from node.tls import refusal, to_managers
from tests.authority import Authority


async def served(certificate: Certificate, client: ssl.SSLContext) -> bytes:
    """The certificate that a client is shown; raises `OSError` where the two do not come together."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"in")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        try:
            if await reader.read() != b"in":
                # With TLS 1.3 a client hears only afterwards that it was turned away.
                raise ConnectionResetError("turned away")
            shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return shown
        finally:
            writer.close()


async def test_a_new_pair_serves_new_connections_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("m1", "127.0.0.1", days=10)
    certificate, client = Certificate(str(cert), str(key)), to_managers(str(authority.ca))
    before = await served(certificate, client)
    assert not certificate.refresh()
    authority.issue("m1", "127.0.0.1", days=20)
    os.utime(cert, (1, 1))
    assert certificate.refresh()
    assert await served(certificate, client) != before
    assert 19 < certificate.days_left < 20


async def test_half_a_pair_is_refused_and_the_former_serves_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("m1", "127.0.0.1")
    certificate, client = Certificate(str(cert), str(key)), to_managers(str(authority.ca))
    before = await served(certificate, client)
    key.write_bytes(authority.issue("m2")[1].read_bytes() + b"\n")
    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        certificate.refresh()
    assert await served(certificate, client) == before


async def test_a_manager_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    cert, key = Authority(tmp_path).issue("m1", "127.0.0.1")
    other = Authority(tmp_path, "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        await served(Certificate(str(cert), str(key)), to_managers(str(other.ca)))


async def test_where_clients_must_show_a_certificate_only_those_of_its_authority_come_in(
    tmp_path: Path,
) -> None:
    authority, nodes = Authority(tmp_path), Authority(tmp_path, "nodes")
    cert, key = authority.issue("m1", "127.0.0.1")
    own = [str(file) for file in nodes.issue("n1")]
    foreign = [str(file) for file in authority.issue("n2")]
    certificate = Certificate(str(cert), str(key), str(nodes.ca))
    assert await served(certificate, to_managers(str(authority.ca), "", *own))
    for wrong in ([*foreign], ["", ""]):
        client = to_managers(str(authority.ca), "", *wrong)
        with pytest.raises(OSError, match=r"alert|turned away"):
            await served(certificate, client)


NAMES = [
    (("127.0.0.1",), "", True),
    (("m1", "127.0.0.2"), "", False),
    ((), "", False),
    (("managers", "127.0.0.2"), "managers", True),
    (("127.0.0.1",), "managers", False),
    (("*.example.com",), "cm1.example.com", True),
    (("*.example.com",), "a.cm1.example.com", False),
]


@pytest.mark.parametrize(("hosts", "server_name", "fits"), NAMES)
async def test_a_certificate_must_be_for_the_address_or_for_the_name_that_all_have(
    tmp_path: Path, hosts: tuple[str, ...], server_name: str, fits: bool
) -> None:
    """The manager itself says at its start what its clients will say."""
    authority = Authority(tmp_path)
    certificate = Certificate(*map(str, authority.issue("m1", *hosts)))
    client = to_managers(str(authority.ca), server_name)
    assert (certificate.unfit("127.0.0.1", server_name) == "") is fits
    if fits:
        assert await served(certificate, client)
        return
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        await served(certificate, client)
    assert "`kcm certificates`" in refusal(caught.value, "tls.ca", "tls.server_name")


async def test_a_certificate_of_another_authority_and_one_that_expired_are_told_apart(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    for issuer, days, why in (
        (other, 1.0, "not signed by tls.ca"),
        (authority, -0.5, "has expired"),
    ):
        certificate = Certificate(*map(str, issuer.issue("m1", "127.0.0.1", days=days)))
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            await served(certificate, to_managers(str(authority.ca)))
        assert why in refusal(caught.value, "tls.ca", "tls.server_name")


# Where only one end has TLS, or the other end wants to see a certificate


@asynccontextmanager
async def answering(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Something that answers HTTP, by TLS or not; gives its port."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await web.SockSite(runner, sock, ssl_context=tls).start()
        yield sock.getsockname()[1]
        await runner.cleanup()


class Told:
    """Hears why a node's connection did not come about."""

    def __init__(self) -> None:
        self.why: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def link_failed(self, link: Link, reason: str) -> None:
        self.why.set_result(reason)

    def link_connected(self, link: Link, remote: str) -> None: ...
    def link_received(self, link: Link, frame: bytes) -> None: ...
    def link_closed(self, link: Link, code: int, reason: str) -> None: ...


async def why_a_node_fails(port: int, tls: ssl.SSLContext | None) -> str:
    async with ClientSession() as http:
        told = Told()
        link = Link(http, f"127.0.0.1:{port}", told, tls)
        try:
            return await asyncio.wait_for(told.why, 20.0)
        finally:
            await link.close(1000, "")


async def test_where_only_one_end_has_tls_both_are_told_what_to_do(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = to_managers(str(authority.ca))
    certificate = Certificate(*map(str, authority.issue("m1", "127.0.0.1")))
    async with answering(certificate.context) as port:
        assert "this node needs `tls.ca`" in await why_a_node_fails(port, None)
        with pytest.raises(NoManager, match="is asked at https://, with KCM_CA"):
            await asyncio.to_thread(request, f"http://127.0.0.1:{port}", "GET", "/api/v1/info")
    async with answering(None) as port:
        assert "take `tls.ca` from this node" in await why_a_node_fails(port, client)
        with pytest.raises(NoManager, match="has no TLS: ask it at http://"):
            await asyncio.to_thread(request, f"https://127.0.0.1:{port}", "GET", "/api/v1/info")


async def test_a_node_that_should_show_a_certificate_is_told_so(tmp_path: Path) -> None:
    authority, nodes = Authority(tmp_path), Authority(tmp_path, "nodes")
    cert, key = authority.issue("m1", "127.0.0.1")
    certificate = Certificate(str(cert), str(key), str(nodes.ca))
    async with answering(certificate.context) as port:
        why = await why_a_node_fails(port, to_managers(str(authority.ca)))
    assert "this node needs `tls.cert` and `tls.key`" in why
