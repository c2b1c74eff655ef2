"""Which process holds a port of this host, by what the kernel tells in /proc."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

_PROC = Path("/proc")
_ALL = ("0.0.0.0", "::")
_WAITING = {"tcp": "0A", "udp": "07"}
"""State of a socket that takes what comes: TCP's LISTEN, UDP's unconnected."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process; `pid` is None where it is another user's, which only root may look at."""

    pid: int | None
    command: str

    def __str__(self) -> str:
        return self.command if self.pid is None else f"{self.command} (pid {self.pid})"


UNSEEN = Holder(None, "a process of another user")


def holder(kind: str, port: int, host: str = "") -> Holder | None:
    """Who takes what comes to `port` of `host` by `kind`, `tcp` or `udp`; None where nobody does.

    `host` is an IP address; where it is empty or stands for all, any address counts.
    """
    hosts = {host, *_ALL} if host and host not in _ALL else set()
    inodes = {inode for family in ("", "6") for inode in _inodes(kind + family, kind, port, hosts)}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in _PROC.iterdir():
        if process.name.isdecimal() and _holds(process, wanted):
            return Holder(int(process.name), _command(process))
    return UNSEEN


def _inodes(table: str, kind: str, port: int, hosts: set[str]) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            host, _, number = fields[1].partition(":")
            if fields[3] != _WAITING[kind] or int(number, 16) != port:
                continue
            if not hosts or _address(host) in hosts:
                yield fields[9]


def _address(text: str) -> str:
    """An address as the kernel prints it, in words of four bytes in the host's order; mapped IPv4 as IPv4."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _holds(process: Path, wanted: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(link) in wanted:
                    return True
    return False


def _command(process: Path) -> str:
    """The program, and where an interpreter runs it, what it runs."""
    with contextlib.suppress(OSError):
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        names = [Path(word).name for word in words if word and not word.startswith("-")]
        if names:
            return names[names[0].startswith(("python", "ruby", "perl")) and len(names) > 1]
    return "a process"
