"""Certificates that are replaced while they serve, and who is asked for one."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from manager.tls import Certificate, to_managers
from node.link import tls_to_managers
from tests.authority import Authority


async def served(certificate: Certificate, client: ssl.SSLContext) -> bytes:
    """The certificate that a client is shown; raises `OSError` where the two do not come together."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"in")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="")
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
    cert, key = authority.issue("m1", days=10)
    certificate, client = Certificate(str(cert), str(key)), to_managers(str(authority.ca))
    before = await served(certificate, client)
    assert not certificate.refresh()
    authority.issue("m1", days=20)
    os.utime(cert, (1, 1))
    assert certificate.refresh()
    assert await served(certificate, client) != before
    assert 19 < certificate.days_left < 20


async def test_half_a_pair_is_refused_and_the_former_serves_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("m1")
    certificate, client = Certificate(str(cert), str(key)), to_managers(str(authority.ca))
    before = await served(certificate, client)
    key.write_bytes(authority.issue("m2")[1].read_bytes() + b"\n")
    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        certificate.refresh()
    assert await served(certificate, client) == before


async def test_a_manager_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    cert, key = Authority(tmp_path).issue("m1")
    other = Authority(tmp_path, "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        await served(Certificate(str(cert), str(key)), to_managers(str(other.ca)))


async def test_where_clients_must_show_a_certificate_only_those_of_its_authority_come_in(
    tmp_path: Path,
) -> None:
    authority, nodes = Authority(tmp_path), Authority(tmp_path, "nodes")
    cert, key = authority.issue("m1")
    own = [str(file) for file in nodes.issue("n1")]
    foreign = [str(file) for file in authority.issue("n2")]
    certificate = Certificate(str(cert), str(key), str(nodes.ca))
    known = tls_to_managers(str(authority.ca), *own)
    assert known is not None
    assert await served(certificate, known)
    for wrong in ([*foreign], ["", ""]):
        client = tls_to_managers(str(authority.ca), *wrong)
        assert client is not None
        with pytest.raises(OSError, match=r"alert|turned away"):
            await served(certificate, client)
