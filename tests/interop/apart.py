"""A mixed group whose members have a host each: a network namespace, on a bridge where nft can cut it off.

On loopback addresses nobody can be cut off by TCP: agents connect from 127.0.0.1, whatever they bind.
"""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address

from benchmarks.networks import Namespaces
from benchmarks.serf import Rpc
from gossip.wire import PLAIN, Keyring, Layers, read_key
from tests.e2e.cluster import wait_for
from tests.interop.agents import PATIENCE, MixedGroup

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_STORY = "10.77.0.254"
"""Where the story itself is on the bridge."""

NOBODY: Mapping[str, str] = {}

Seen = dict[str, tuple[str, str]]
"""Name → state in Serf's words, IP address."""


class Joins(StrEnum):
    """Who was there first, and so who is joined."""

    WE_JOIN_SERF = "we join serf"
    SERF_JOINS_US = "serf joins us"
    SERF_ALONE = "serf alone"


@contextmanager
def alone() -> Iterator[None]:
    """This thread, and what it starts, in a network of its own; then back in the one that it came from.

    Its mounts are its own from now on, so nobody else sees the names of the hosts.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            yield
        finally:
            subprocess.run(["umount", "--lazy", "/run/netns"], check=False, stderr=subprocess.DEVNULL)
            libc.setns(home, _CLONE_NEWNET)
    finally:
        os.close(home)


def on_the_bridge() -> None:
    """Give the story itself an address there, from which it reaches every host."""
    subprocess.run(["ip", "address", "add", f"{_STORY}/24", "dev", "hub"], check=True)


@dataclass(slots=True)
class ApartGroup(MixedGroup):
    """Three managers m1, m2, m3 and three agents s1, s2, s3; or six agents, of which s4, s5, s6 stand where
    the managers would. With `key_size` all have one key, in a keyring file each."""

    net: str = "10.77.0"
    joins: Joins = Joins.SERF_JOINS_US
    key_size: int = 0
    networks: Namespaces = field(default_factory=lambda: Namespaces(8))
    addresses: dict[str, str] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    """By which of its addresses the host of each member is called: the first one."""
    heard: dict[str, int] = field(default_factory=dict)
    """How many complaints of each agent have been read."""

    def __post_init__(self) -> None:
        ours = "s4 s5 s6" if self.joins is Joins.SERF_ALONE else "m1 m2 m3"
        self.homes = dict(zip([*ours.split(), "s1", "s2", "s3"], self.networks.hosts(6), strict=True))
        self.addresses = dict(self.homes)
        on_the_bridge()

    # Hosts

    def address(self, name: str) -> str:
        return self.addresses[name]

    def inside(self, name: str) -> tuple[str, ...]:
        return self.networks.inside(self.homes[name])

    def listens(self, name: str) -> tuple[str, ...]:
        return (f"--bind={self.networks.bind(name)}", f"--advertise={self.address(name)}")

    def itself(self, name: str) -> str:
        return self.networks.itself(name)

    def move(self, name: str) -> None:
        """The host of `name`, which does not run now, gets another address in place of its own."""
        former = self.addresses[name]
        self.addresses[name] = former.replace("10.77.0.", "10.77.0.10")
        for change, address in (("del", former), ("add", self.addresses[name])):
            ip = ("ip", "address", change, f"{address}/24", "dev", "eth0")
            subprocess.run([*self.inside(name), *ip], check=True)

    def cut(self, left: tuple[str, ...], right: tuple[str, ...]) -> None:
        self.networks.cut([*map(self.address, left)], [*map(self.address, right)])

    def heal(self) -> None:
        self.networks.heal()

    # Members

    def form(self) -> None:
        """Start all six, in the order that `joins` demands."""
        agents = [name for name in self.homes if name[0] == "s"]
        managers = [name for name in self.homes if name[0] == "m"]
        if self.joins is Joins.SERF_JOINS_US:
            for name in managers:
                self.start(name)
            self.formed(3, within=PATIENCE)
            for name in agents:
                self.start(name)
        else:
            self.start("s1")
            for name in sorted({*agents} - {"s1"}) + managers:
                self.start(name)
        self.agree()

    def start(self, name: str, *options: str) -> None:
        """Start a member, for the first time or again; it joins one of the others."""
        keyring = self.folder / f"{name}.keyring"
        if self.key_size and not keyring.exists():
            keyring.write_text(json.dumps([b64encode(bytes(range(self.key_size))).decode()]))
            keyring.chmod(0o600)
        if name[0] == "m":
            peers = ["m1", "m2", "m3"] if self.joins is Joins.SERF_JOINS_US else ["s1"]
            config = f"gossip: {{keyring_file: {keyring}}}\n" if self.key_size else ""
            manager = self.start_manager(name, *options, peers=peers, config=config)
            manager.says("is listening", within=PATIENCE)
        else:
            entrance = "m1" if self.joins is Joins.SERF_JOINS_US else "s1"
            under = [f"-keyring-file={keyring}"] if self.key_size else []
            join = "" if name == entrance else entrance
            self.start_agent(name, *under, *options, join=join, host="0.0.0.0")

    def depart(self, *names: str) -> None:
        """Let them leave in good order, all at once."""
        for name in names:
            if name in self.managers:
                self.managers[name].send(signal.SIGTERM)
            else:
                self.agents[name].send(signal.SIGINT)
        for name in names:
            assert self.process(name).popen.wait(PATIENCE) == 0

    def keys_of(self, name: str) -> list[str]:
        """What stands in its file, which nobody else may read."""
        file = self.folder / f"{name}.keyring"
        assert file.stat().st_mode & 0o777 == 0o600
        keys: list[str] = json.loads(file.read_text())
        return keys

    def keys_by_serf(self, agent: str, verb: str, key: str = "") -> str:
        """By Serf's own command, again until all have answered: it does not repeat a query that was lost."""
        option = f"-{verb}={key}" if key else f"-{verb}"
        return wait_for(lambda: self.serf(agent, "keys", option), 60.0, f"serf keys {verb}")

    def write_to_the_ledger(self, number: int) -> None:
        """Something that every manager has to hear, and no agent."""
        cap = 100 + number
        assert not self.managers or self.kcm("subscription", "set", f"--max-nodes={cap}").returncode == 0
        wait_for(
            lambda: all(self.get(name, "subscription")["max_nodes"] == cap for name in self.managers),
            PATIENCE,
            "every manager has it",
            every=0.2,
        )
        wait_for(lambda: not self.differences(), PATIENCE, "the managers agree", every=0.5)

    @property
    def layers(self) -> Layers:
        """What a packet of the group is wrapped in."""
        if not self.key_size:
            return PLAIN
        return Layers(Keyring([read_key(key) for key in self.keys_of("m1")]), random_bytes=os.urandom)

    # What is seen

    def tags_seen_by(self, name: str) -> dict[str, dict[str, str]]:
        """The tags of everybody, as `name` tells them."""
        if name in self.managers:
            return self.tags_told_by(name)
        return {member: listed["tags"] for member, listed in self.members_of(name).items()}

    def fresh_complaints(self) -> list[str]:
        """What agents have warned of, or called an error, since this was asked last."""
        fresh = []
        for agent in self.agents:
            complaints = self.complaints(agent)
            fresh += complaints[self.heard.get(agent, 0) :]
            self.heard[agent] = len(complaints)
        return fresh

    def seen_by(self, name: str) -> Seen:
        """What `name` says of everybody."""
        if name in self.agents:
            return asyncio.run(_asked(self.address(name)))
        return {
            member["name"]: (
                "failed" if member["state"] == "dead" else member["state"],
                member["address"].rpartition(":")[0],
            )
            for member in self.get(name, "members")["members"]
        }

    def agree(
        self, gone: Mapping[str, str] = NOBODY, *, by: tuple[str, ...] = (), within: float = PATIENCE
    ) -> None:
        """Wait until all, or those in `by`, see each member where it is: alive, or as it is in `gone`."""
        expected = {name: (gone.get(name, "alive"), address) for name, address in self.addresses.items()}

        def seen() -> bool:
            for name in by or [name for name in expected if name not in gone]:
                if (view := self.seen_by(name)) != expected:
                    differs = {who: view.get(who) for who in expected if view.get(who) != expected[who]}
                    raise AssertionError(f"{name} sees {differs}")
            return True

        wait_for(seen, within, f"{', '.join(by) or 'all'} see all alive but {dict(gone)}", every=0.3)


async def _asked(host: str) -> Seen:
    rpc = await Rpc.open(host)
    try:
        return {
            name.decode(): (status.decode(), _text(address)) for name, address, status in await rpc.members()
        }
    finally:
        rpc.close()


def _text(address: bytes) -> str:
    ip = ip_address(address)
    return str(getattr(ip, "ipv4_mapped", None) or ip)
