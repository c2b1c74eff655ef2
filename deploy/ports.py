"""Which process holds a port? Linux's /proc knows; of other users' processes it tells a user little."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

PROC = Path("/proc")
LISTENING = "0A"

Transport = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class _Socket:
    address: IPv4Address | IPv6Address
    port: int
    state: str
    uid: int
    inode: int


def port_owner(transport: Transport, host: str, port: int) -> str:
    """Whoever keeps us from binding `port` on `host`, as precisely as we may know: `serf (pid 812)`."""
    holders = [held for held in _sockets(transport) if held.port == port and _covers(held.address, host)]
    # A connection that happens to use the port as its own end is the answer only where nobody listens there.
    holders.sort(key=lambda held: held.state != LISTENING)
    for held in holders:
        pid = _pid_with_socket(held.inode)
        return f"{_program(pid)} (pid {pid})" if pid else f"a process of user {held.uid} (root could name it)"
    return "another process"


def _sockets(transport: Transport) -> Iterator[_Socket]:
    for table in (PROC / "net" / transport, PROC / "net" / f"{transport}6"):
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                _, local, _, state, _, _, _, uid, _, inode, *_ = line.split()
                address, port = local.split(":")
                yield _Socket(_address(address), int(port, 16), state, int(uid), int(inode))


def _address(digits: str) -> IPv4Address | IPv6Address:
    """The kernel prints addresses as 32 bit numbers of the machine's own byte order."""
    words = (int(digits[start : start + 8], 16) for start in range(0, len(digits), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _covers(bound: IPv4Address | IPv6Address, host: str) -> bool:
    mapped = bound.ipv4_mapped if isinstance(bound, IPv6Address) else None
    return bound.is_unspecified or IPv4Address(host) in (bound, mapped)


def _pid_with_socket(inode: int) -> int | None:
    for pid in sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()):
        try:
            descriptors = list((PROC / str(pid) / "fd").iterdir())
            if any(os.readlink(descriptor) == f"socket:[{inode}]" for descriptor in descriptors):
                return pid
        except OSError:
            continue  # it has ended since, or is not ours to look at
    return None


def _program(pid: int) -> str:
    """The name by which its user knows it: the script's, where an interpreter runs one."""
    try:
        words = [Path(word).name for word in (PROC / str(pid) / "cmdline").read_text().split("\0")]
    except OSError:
        return "a process"
    program, script = [*words, ""][:2]
    return script if program.startswith("python") and script and not script.startswith("-") else program
