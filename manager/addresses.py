"""The addresses of this host, whether it reaches itself by one, and those that its peers' names stand for."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from node.lookup import look_up

ITSELF_SECONDS_MAX = 1.0
_LOOK_UP_SECONDS_MAX = 3.0


def own_addresses() -> list[str]:
    """This host's IPv4 addresses: the one that it would send from first, then those of its interfaces."""
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            # A bridge of its own containers is reached from nowhere else.
            if not Path("/sys/class/net", name, "bridge").exists():
                found += _address_of(name, sock)
        # Sends nothing: only asks the kernel which address it would use.
        sock.connect(("10.255.255.255", 9))
        found.insert(0, sock.getsockname()[0])
    return list(dict.fromkeys(found))


def _address_of(interface: str, sock: socket.socket) -> list[str]:
    """The interface's first IPv4 address, where it has one."""
    siocgifaddr = 0x8915
    try:
        answer = fcntl.ioctl(sock, siocgifaddr, struct.pack("40s", interface.encode()[:15]))
    except OSError:
        return []
    return [socket.inet_ntoa(answer[20:24])]


async def why_not_reached(host: str, port: int) -> str:
    """Why nothing is reached at that address from here, by TCP; empty where something is."""
    try:
        async with asyncio.timeout(ITSELF_SECONDS_MAX):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {ITSELF_SECONDS_MAX:g} s"
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno else str(error)
    writer.close()
    return ""


def is_own(host: str) -> bool:
    """Whether this host has the IP address `host`: only then it can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
    except OSError:
        return False
    return True


async def looked_up(peers: Iterable[object], family: int = socket.AF_UNSPEC) -> dict[str, tuple[str, ...]]:
    """The addresses that each of the peers stands for now; none where it is not known in time."""

    async def one(peer: str) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS_MAX):
                return tuple(map(str, await look_up(peer, socket.AddressFamily(family))))
        except TimeoutError:
            return ()

    names = [str(peer) for peer in peers]
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
