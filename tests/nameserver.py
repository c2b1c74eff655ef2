"""A name server on loopback for tests: `python -m tests.nameserver ZONE ADDRESS PORT`.

ZONE is a file of lines such as `managers.test. A 10.0.0.1`; it is read at each question, so that a test
changes what a name stands for by writing it anew.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


def _answer(question: dns.message.Message, lines: list[str]) -> dns.message.Message:
    answer = dns.message.make_response(question, recursion_available=True)
    answer.flags |= dns.flags.AA
    [asked] = question.question
    known = False
    for line in lines:
        name, kind, text = line.split(" ", 2)
        if dns.name.from_text(name) == asked.name:
            known = True
            if dns.rdatatype.from_text(kind) == asked.rdtype:
                answer.answer.append(dns.rrset.from_text(asked.name, 0, "IN", kind, text))
    if not known:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer


class _Server(asyncio.DatagramProtocol):
    def __init__(self, zone: Path) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        answer = _answer(dns.message.from_wire(data), self._zone.read_text().splitlines())
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def serving(zone: Path, address: str, port: int) -> AsyncIterator[int]:
    """Questions are answered at `address` meanwhile; gives the port, one of the system's choice for 0."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(zone), (address, port))
    try:
        yield int(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


async def _main(zone: str, address: str, port: str) -> None:
    async with serving(Path(zone), address, int(port)):
        print("serving", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
