"""Where the members of a group run: on loopback addresses, or each in a network namespace of its own.

Namespaces need root, and a process that is alone in its network and mount namespace: `benchmarks.gossip`
is started so. All that is made here ends with it.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError, block

_CLONE_NEWNET = 0x40000000
_NAMED = Path("/run/netns")
_OURS = ".benchmarks"


@dataclass(frozen=True, slots=True)
class Sent:
    """What a member has sent since its network was made."""

    packets: int
    bytes: int


class Loopback:
    """Addresses of a block that nobody else uses; they cannot be cut apart, nor their traffic told apart."""

    def close(self) -> None:
        """Leave nothing behind."""

    def hosts(self, count: int) -> list[str]:
        """The members' addresses."""
        net = block()
        return [f"{net}.{number}" for number in range(1, count + 1)]

    def inside(self, host: str) -> tuple[str, ...]:
        """What to put before a command that shall run where `host` is."""
        return ()

    def itself(self, host: str) -> str:
        """The address where what runs at `host` listens for those who operate it."""
        return host

    def bind(self, host: str) -> str:
        """The address to which `host` may bind all its ports."""
        return host

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to `itself(host)` from there, so that it is on nobody's wire."""
        return await asyncio.open_connection(host, port)


def _prepare() -> None:
    """Room for the names of namespaces, unless there is; nobody outside of the mount namespace sees it."""
    if (_NAMED / _OURS).exists():
        return
    _NAMED.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "tmpfs", str(_NAMED))
    (_NAMED / _OURS).touch()


class Namespaces(Loopback):
    """One namespace for each member, with a bridge between them; cuts by nft on the bridge."""

    def __init__(self, count: int, number: int = 0) -> None:
        """Of `count` members. `number`, below 255, is no other's: networks are apart.

        Raises `BenchmarkError` where the machine does not let us.
        """
        self._hosts = [f"10.77.{number}.{member}" for member in range(1, count + 1)]
        _prepare()
        self._hub = f"hub{number or ''}"
        self._table = f"cut{number}"
        _run("ip", "link", "add", self._hub, "type", "bridge", "forward_delay", "0")
        _run("ip", "link", "set", self._hub, "up")
        for host in self._hosts:
            self._add(host)
        for host in self._hosts:
            self._introduce(host)
        hook = "{ type filter hook forward priority 0; }"
        _run("nft", f"add table bridge {self._table}; add chain bridge {self._table} f {hook}")

    def close(self) -> None:
        """End the namespaces; whatever ran in them must have ended."""
        _run("nft", f"delete table bridge {self._table}")
        for host in self._hosts:
            # A namespace ends some time after it is deleted: until then its device would be in the way.
            _run("ip", "link", "delete", f"v{_name(host)}")
            _run("ip", "netns", "delete", _name(host))
        _run("ip", "link", "delete", self._hub)

    def _add(self, host: str) -> None:
        name, outside = _name(host), f"v{_name(host)}"
        _run("ip", "netns", "add", name)
        inside = ("name", "eth0", "address", _mac(host), "netns", name)
        _run("ip", "link", "add", outside, "type", "veth", "peer", *inside)
        _run("ip", "link", "set", outside, "master", self._hub, "up")
        _run("ip", "-n", name, "addr", "add", f"{host}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", name, "link", "set", device, "up")

    def _introduce(self, host: str) -> None:
        """Tell `host` where the others are.

        What they find out by ARP is kept in one table for all namespaces, of 1,024 entries at most; what is
        sent beyond that is lost, which groups of 32 take for a network that fails them.
        """
        others = [other for other in self._hosts if other != host]
        lines = [f"neigh add {other} lladdr {_mac(other)} dev eth0 nud permanent" for other in others]
        _run("ip", "-n", _name(host), "-batch", "-", given="\n".join(lines))

    def hosts(self, count: int) -> list[str]:
        return self._hosts[:count]

    def listen_on_hub(self) -> str:
        """Give this process an address that every host reaches, also through a cut."""
        _run("ip", "addr", "add", "10.77.0.254/24", "dev", self._hub)
        return "10.77.0.254"

    def inside(self, host: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", _name(host))

    def itself(self, host: str) -> str:
        return "127.0.0.1"

    def bind(self, host: str) -> str:
        return "0.0.0.0"

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = await asyncio.to_thread(_socket_in, _name(host))
        await asyncio.get_running_loop().sock_connect(sock, (self.itself(host), port))
        return await asyncio.open_connection(sock=sock)

    def cut(self, left: list[str], right: list[str]) -> None:
        """Nothing passes between `left` and `right` any more."""
        one, other = (f"{{ {', '.join(side)} }}" for side in (left, right))
        _run(
            "nft",
            f"add rule bridge {self._table} f ip saddr {one} ip daddr {other} drop;"
            f"add rule bridge {self._table} f ip saddr {other} ip daddr {one} drop",
        )

    def heal(self) -> None:
        """Everything passes again."""
        _run("nft", f"flush chain bridge {self._table} f")

    def sent(self, host: str) -> Sent:
        """Frames that the bridge got from `host`, and their bytes from the IP header on."""
        for line in Path("/proc/net/dev").read_text().splitlines():
            name, _, columns = line.partition(":")
            if name.strip() == f"v{_name(host)}":
                received = columns.split()
                packets = int(received[1])
                return Sent(packets, int(received[0]) - packets * 14)
        raise BenchmarkError(f"no network device of {host}")


def _name(host: str) -> str:
    _, _, network, member = host.split(".")
    return f"n{network}-{member}"


def _mac(host: str) -> str:
    """A locally administered one."""
    _, _, network, member = host.split(".")
    return f"02:00:0a:4d:{int(network):02x}:{int(member):02x}"


def _socket_in(namespace: str) -> socket.socket:
    """A TCP socket in `namespace`: a socket stays where it was made, so its thread goes there and ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(_NAMED / namespace, os.O_RDONLY)
    try:
        if libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.setblocking(False)
            undo.pop_all()
            return sock
    finally:
        libc.setns(home, _CLONE_NEWNET)
        os.close(there)
        os.close(home)


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: {done.stderr.strip()}")
