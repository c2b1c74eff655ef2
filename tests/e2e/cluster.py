"""Real processes for stories: managers on loopback addresses of their own, nodes with a folder each.

Every story takes a block 127.a.b.0/24 that no other story of this run has, so they can run side by side on
the default ports. Only processes that were started here are ever ended.
"""

import asyncio
import fcntl
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from manager.agreement import agree, fetch_views

PROGRAMS = Path(sys.executable).parent
HTTP_PORT = 9897
NODE_PORT = 7000
GOSSIP_PORT = 7946

Answer = TypeVar("Answer")
_blocks = itertools.count(1)


@functools.cache
def _second_number() -> int:
    """Of 127.x.y.z, for this process alone until it ends: also beside another run of the tests."""
    for number in range(16, 255):
        lock = os.open(Path(tempfile.gettempdir()) / f"kcm-tests-127.{number}", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return number
    raise AssertionError("no free block of loopback addresses")


def block() -> str:
    """The first three numbers of addresses that are this story's own."""
    return f"127.{_second_number()}.{next(_blocks)}"


def wait_for(condition: Callable[[], Answer], within: float, what: str, *, every: float = 0.05) -> Answer:
    """The first true answer of `condition`, asked `every` so many seconds until `within` have passed."""
    ends = time.monotonic() + within
    last = "nothing"
    while time.monotonic() < ends:
        try:
            answer = condition()
        except (OSError, KeyError, ValueError, AssertionError) as error:
            last = repr(error)
        else:
            if answer:
                return answer
            last = repr(answer)
        time.sleep(every)
    raise AssertionError(f"not within {within} s: {what} (last: {last})")


def fetched(asked: str | urllib.request.Request, seconds: float = 5.0) -> bytes:
    """What is answered; a refusal is raised as `HTTPError`, closed: the collector warns of open sockets."""
    try:
        with urllib.request.urlopen(asked, timeout=seconds) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        with error:
            raise


@dataclass(slots=True)
class Process:
    """One program that was started, with all it printed."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.running:
            self.popen.send_signal(number)

    def stop(self, within: float = 10.0) -> int:
        """SIGTERM; gives the exit code."""
        self.send(signal.SIGTERM)
        return self.popen.wait(within)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.popen.wait(10)

    def says(self, text: str, within: float = 10.0) -> str:
        """The first line with `text` in it, waited for."""
        return wait_for(
            lambda: next((line for line in self.text.splitlines() if text in line), ""),
            within,
            f"{self.log.name} says {text!r}",
        )


@dataclass(slots=True)
class Cluster:
    """Managers m1, m2, … on the block's addresses .1, .2, …, and nodes by name."""

    folder: Path
    net: str = field(default_factory=block)
    managers: dict[str, Process] = field(default_factory=dict)
    nodes: dict[str, Process] = field(default_factory=dict)
    others: list[Process] = field(default_factory=list)

    def address(self, name: str) -> str:
        return f"{self.net}.{name[1:]}"

    def inside(self, name: str) -> tuple[str, ...]:
        """What to put before a command that shall run on the host of `name`."""
        return ()

    def listens(self, name: str) -> tuple[str, ...]:
        """The options by which a manager listens at its address."""
        return (f"--bind={self.address(name)}",)

    def itself(self, name: str) -> str:
        """The address of a manager for those who operate it on its own host."""
        return self.address(name)

    @staticmethod
    def program(name: str) -> Path:
        """An installed console script."""
        return PROGRAMS / name

    def run(self, name: str, *command: str, env: dict[str, str] | None = None) -> Process:
        """Start `command` with its output in a file."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [*self.inside(name), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Programs keep their bytecode, as installed ones do: else each start compiles them anew.
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})},
                start_new_session=True,
            )
        process = Process(popen, log)
        self.others.append(process)
        return process

    def start_manager(
        self,
        name: str,
        *options: str,
        peers: list[str] | None = None,
        config: str = "",
        env: dict[str, str] | None = None,
    ) -> Process:
        """A manager that lists `peers` (names), all three of m1 to m3 by default."""
        file = self.folder / f"{name}.yml"
        file.write_text(config)
        listed = [f"--peer={self.address(peer)}" for peer in (["m1", "m2", "m3"] if peers is None else peers)]
        program = str(self.program("krakend-cluster-manager"))
        kept = f"--state-dir={self.folder}/state"
        command = (
            program,
            f"--config={file}",
            f"--name={name}",
            *self.listens(name),
            kept,
            *listed,
            *options,
        )
        process = self.run(name, *command, env=env)
        self.managers[name] = process
        return process

    def start_managers(self, count: int = 3, config: str = "") -> None:
        """`count` managers that form one group."""
        names = [f"m{at}" for at in range(1, count + 1)]
        for name in names:
            self.start_manager(name, peers=names, config=config)
        self.formed(count)

    def formed(self, count: int, within: float = 15.0) -> None:
        wait_for(
            lambda: all(
                len(self.members(name)) == count for name in self.managers if self.managers[name].running
            ),
            within,
            f"{count} managers form one group",
        )
        wait_for(lambda: not self.differences(), 5.0, "they agree")

    def start_node(
        self, name: str, *seeds: str, config: str = "", env: dict[str, str] | None = None
    ) -> Process:
        """A node that knows the managers `seeds` (names), all that were started by default."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        listed = ", ".join(self.address(seed) for seed in seeds or self.managers)
        text = f"seed: {listed}\nname: {name}\nstate_dir: {folder}\nlimits_file: {folder}/limits.json\n"
        (folder / "service.yml").write_text(text + ('api: ""\n' if "api:" not in config else "") + config)
        process = self.run(
            name, str(self.program("krakend-cluster-node")), f"--service={folder}/service.yml", env=env
        )
        self.nodes[name] = process
        return process

    def limits(self, node: str) -> dict[str, Any]:
        """The node's limits file."""
        content: dict[str, Any] = json.loads((self.folder / node / "limits.json").read_text())
        return content

    def get(self, manager: str, path: str) -> Any:
        """The JSON at `/api/v1/PATH` of `manager`."""
        return json.loads(fetched(f"http://{self.address(manager)}:{HTTP_PORT}/api/v1/{path}"))

    def members(self, manager: str) -> dict[str, str]:
        """Name → state, of those that are not gone."""
        members = self.get(manager, "members")["members"]
        return {m["name"]: m["state"] for m in members if m["state"] in ("alive", "suspect")}

    def states(self, manager: str) -> dict[str, str]:
        """Node name → state, as `manager` shows them."""
        return {node["name"]: node["state"] for node in self.get(manager, "nodes")["nodes"]}

    def node(self, manager: str, name: str) -> dict[str, Any]:
        """One node by its name, as `manager` shows it."""
        [node] = [node for node in self.get(manager, "nodes")["nodes"] if node["name"] == name]
        found: dict[str, Any] = node
        return found

    def rejected(self, manager: str) -> Counter[str]:
        """How much of the gossip `manager` has dropped, by reason."""
        lines = fetched(f"http://{self.address(manager)}:{HTTP_PORT}/metrics", 10.0).decode().splitlines()
        counts: Counter[str] = Counter()
        for line in lines:
            if line.startswith("kcm_rejected_total{") and 'where="gossip"' in line:
                counts[line.split('reason="')[1].split('"')[0]] = int(float(line.rsplit(" ", 1)[1]))
        return counts

    def everywhere(self, expected: dict[str, str], within: float, what: str) -> None:
        """Wait until every running manager shows these states of nodes."""
        running = [name for name, process in self.managers.items() if process.running]
        wait_for(lambda: all(self.states(name) == expected for name in running), within, what)

    def differences(self) -> list[str]:
        """In what the running managers differ; empty when they agree."""
        urls = {
            name: f"http://{self.address(name)}:{HTTP_PORT}"
            for name, process in self.managers.items()
            if process.running
        }
        return agree(asyncio.run(fetch_views(urls)))

    def kcm(self, *arguments: str, manager: str = "m1") -> subprocess.CompletedProcess[str]:
        """Run `kcm` against `manager`, on its own host."""
        return subprocess.run(
            [*self.inside(manager), str(self.program("kcm")), *arguments],
            env={**os.environ, "KCM_MANAGER": f"http://{self.itself(manager)}:{HTTP_PORT}"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def close(self) -> None:
        """End what was started here, stopped or not."""
        for process in self.others:
            process.send(signal.SIGCONT)
            process.send(signal.SIGTERM)
        ends = time.monotonic() + 5
        for process in self.others:
            try:
                process.popen.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
