"""Real `serf` agents beside our managers, on the addresses of one block.

An agent runs as Debian installs it: LAN profile, compression on, whatever else it does by default. It is
asked and told by its own commands. What it complains of stands in its log.
"""

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gossip.messages import Address, PushPull
from gossip.wire import PLAIN, Layers, StreamReader, decode_tags, encode_stream
from tests.e2e.cluster import GOSSIP_PORT, Cluster, Process, wait_for

RPC_PORT = 7373
PATIENCE = 75.0
"""News is put into few packets, and may miss somebody: the next push/pull, in 30 to 60 s, brings it."""

GOES_WRONG = re.compile(r"\[(WARN|ERR)\] (.*)")
NOT_UNDERSTOOD = re.compile(
    r"unknown type|not supported|decode|decompress|invalid|truncated|too short|checksum|bad type|zero bytes"
    r"|Unsupported|unexpected node|Vsn|version\(s\)|Failed push/pull merge|queue"
)
"""What an agent says of messages that it cannot read, or gets too many of."""

OF_ANY_GROUP = {
    r"memberlist: Refuting a (suspect|dead) message": "it was stopped, cut off or restarted",
    r"memberlist: Failed fallback ping": "whom it probes was stopped, cut off or killed",
    r"memberlist: Push/Pull with \S+ failed": "the same, where it exchanges tables",
    r"memberlist: Was able to connect to": "a datagram was late: the machine is busy",
    r"serf: Shutdown without a Leave": "a signal ended it",
    r"agent: Serf shutdown detected": "it left, and was quicker at that than at ending",
    r"memberlist: Failed to send \S.*: use of closed network connection": "the same, by its own socket",
}
"""What agents complain of whoever else is in the group, and why. A group of agents alone was heard to."""

OF_A_MOVED_MEMBER = {
    r"memberlist: Conflicting address for": "agents hold it for dead where it was",
    r"serf: Name conflict for": "said once more",
}


def unlike(complaints: Iterable[str], *expected: Mapping[str, str]) -> list[str]:
    """Those of the complaints that none of the patterns in `expected` covers."""
    patterns = [pattern for table in expected for pattern in table]
    return [line for line in complaints if not any(re.search(pattern, line) for pattern in patterns)]


@dataclass(slots=True)
class MixedGroup(Cluster):
    """Managers m1, m2, … on the block's addresses .1, .2, …, and agents s1, s2, … on .101, .102, …"""

    agents: dict[str, Process] = field(default_factory=dict)

    def address(self, name: str) -> str:
        number = int(name[1:])
        return f"{self.net}.{100 + number if name[0] == 's' else number}"

    # Agents

    def start_agent(
        self, name: str, *options: str, join: str = "", ready: bool = True, host: str = ""
    ) -> Process:
        """A default agent, which ends where `join` (a name) does not answer."""
        host = host or self.address(name)
        own = (f"-node={name}", f"-bind={host}:{GOSSIP_PORT}", f"-rpc-addr={host}:{RPC_PORT}")
        joined = (f"-join={self.address(join)}",) if join else ()
        process = self.run(name, "serf", "agent", *own, *joined, *options)
        self.agents[name] = process
        if ready:
            wait_for(lambda: self.members_of(name), 15.0, f"{name} runs")
        return process

    def serf(self, agent: str, verb: str, *arguments: str) -> str:
        """What `serf VERB` prints, asked at `agent`. Raises `ValueError` with what it says where it fails."""
        command = ("serf", verb, f"-rpc-addr={self.address(agent)}:{RPC_PORT}", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise ValueError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def members_of(self, agent: str) -> dict[str, dict[str, Any]]:
        """`serf members` at `agent`, by name."""
        listed = json.loads(self.serf(agent, "members", "-format=json"))["members"]
        return {member["name"]: member for member in listed}

    def complaints(self, agent: str) -> list[str]:
        """The warnings and errors in its log."""
        return [found[0] for found in GOES_WRONG.finditer(self.agents[agent].text)]

    @property
    def layers(self) -> Layers:
        """What everything said in the group is wrapped in."""
        return PLAIN

    # Both

    def process(self, name: str) -> Process:
        return self.agents.get(name) or self.managers[name]

    def kill(self, *names: str) -> None:
        for name in names:
            self.process(name).kill()

    def suspend(self, *names: str) -> None:
        for name in names:
            self.process(name).send(signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        for name in names:
            self.process(name).send(signal.SIGCONT)

    # What is seen

    def views(self) -> dict[str, dict[str, str]]:
        """What each running manager and agent says of everybody's state."""
        views: dict[str, dict[str, str]] = {}
        for name in [name for name, process in self.managers.items() if process.running]:
            members = self.get(name, "members")["members"]
            views[name] = {member["name"]: member["state"] for member in members}
        for name in [name for name, process in self.agents.items() if process.running]:
            views[name] = {listed: member["status"] for listed, member in self.members_of(name).items()}
        return views

    def known_to_managers(self, name: str) -> None:
        """Wait until every manager lists `name` as alive or suspect."""
        wait_for(
            lambda: all(name in self.members(manager) for manager in self.managers),
            PATIENCE,
            f"the managers know {name}",
        )

    def all_alive(self, within: float = PATIENCE) -> None:
        """Wait until everybody lists all that run as alive, and nobody else."""
        expected = {
            name: "alive" for name, process in (self.managers | self.agents).items() if process.running
        }
        wait_for(lambda: self._differ(expected), within, f"everybody lists {', '.join(expected)} alive")

    def _differ(self, expected: dict[str, str]) -> bool:
        wrong = {viewer: view for viewer, view in self.views().items() if view != expected}
        assert not wrong, wrong
        return True

    def listed(self, name: str, *, ours: str, theirs: str, within: float = PATIENCE) -> None:
        """Wait until the managers that run list `name` as `ours`, and the agents as `theirs`."""

        def seen() -> bool:
            states = {viewer: view.get(name) for viewer, view in self.views().items() if viewer != name}
            wrong = {
                viewer: state
                for viewer, state in states.items()
                if state != (theirs if viewer in self.agents else ours)
            }
            assert not wrong, wrong
            return True

        wait_for(seen, within, f"{name} is {ours} (managers), {theirs} (agents)")

    def kinds(self, manager: str) -> dict[str, str]:
        return {member["name"]: member["kind"] for member in self.get(manager, "members")["members"]}

    def tags_told_by(self, manager: str) -> dict[str, dict[str, str]]:
        """The tags of everybody, as `manager` tells them to whoever joins it."""
        with socket.create_connection((self.address(manager), GOSSIP_PORT), timeout=5) as stream:
            stream.sendall(encode_stream(PushPull(False, ()), self.layers))
            reader = StreamReader(self.layers, answer=True)
            while data := stream.recv(65536):
                table = reader.feed(data)
                if isinstance(table, PushPull):
                    return {member.name: decode_tags(member.meta) for member in table.members}
        raise OSError(f"{manager} did not answer")


class OneWayMirror:
    """The address by which a member is known, where datagrams reach it from everybody but `shut_out`.

    Its own datagrams go out past the mirror, so it reaches everybody. There is no way by TCP.
    """

    def __init__(self, host: str, member: Address, shut_out: str) -> None:
        self.kept_out = 0
        self._member = member
        self._shut_out = shut_out
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, GOSSIP_PORT))
        self._socket.settimeout(0.2)
        self._closed = False
        self._thread = threading.Thread(target=self._pass_on)
        self._thread.start()

    def _pass_on(self) -> None:
        while not self._closed:
            try:
                data, sender = self._socket.recvfrom(65536)
            except TimeoutError:
                continue
            if sender[0] == self._shut_out:
                self.kept_out += 1
            else:
                self._socket.sendto(data, self._member)

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        self._socket.close()
