"""A whole cluster on this machine: three managers and five nodes, each a process of its own.

    python deploy/demo.py [--ports FIRST] [--duration SECONDS]

It runs until Ctrl-C, or for SECONDS after all are in. Exit codes: 0 all was well; 1 a process ended,
a node was not active or the managers did not agree; 2 nothing was started, since a port is taken or the call
is wrong; 128 + the signal that cut a `--duration` short.
"""

import argparse
import asyncio
import contextlib
import ctypes
import errno
import fcntl
import io
import json
import math
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from manager.agreement import View, agree, fetch_views
from manager.ports import holder

ROOT = Path(__file__).resolve().parent.parent
MANAGER = "krakend-cluster-manager"
NODE = "krakend-cluster-node"
NODES = ("n1", "n2", "n3", "n4", "n5")
COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)

START_SECONDS = 60.0
"""Until all must be in: a few seconds on an idle machine, and a busy one may take its time."""

SETTLE_SECONDS = 5.0
"""How long the verdict waits for news that was still on its way when time was up."""

STOP_SECONDS = 12.0
"""A manager ends within 10 s of SIGTERM; whoever has not by then is killed."""

POLL_SECONDS = 0.25
"""Between two looks at whether all is well."""


class CannotStart(Exception):
    """Nothing was started. The message says why, and what to do about it."""


class Failed(Exception):
    """The cluster was not what it should be. The message says in what."""


# --- Where everything is


@dataclass(frozen=True, slots=True)
class Manager:
    """Where one manager listens."""

    name: str
    host: str
    node_port: int
    gossip_port: int
    http_port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.http_port}"


def layout(first_port: int | None) -> list[Manager]:
    """An address for each manager and the usual ports, or blocks of ten ports on 127.0.0.1."""
    if first_port is None:
        return [Manager(f"m{number}", f"127.0.0.{number}", 7000, 7946, 9897) for number in (1, 2, 3)]
    blocks = enumerate(range(first_port, first_port + 30, 10), start=1)
    return [Manager(f"m{number}", "127.0.0.1", port, port + 1, port + 2) for number, port in blocks]


def check_ports(managers: Sequence[Manager], way_out: str) -> None:
    """Raise `CannotStart` if a manager could not listen, naming who holds the port."""
    for manager in managers:
        wanted: list[tuple[str, int]] = [
            ("tcp", manager.node_port),
            ("tcp", manager.gossip_port),
            ("udp", manager.gossip_port),
            ("tcp", manager.http_port),
        ]
        for transport, port in wanted:
            try:
                bind_once(transport, manager.host, port)
            except OSError as error:
                where = f"port {port}/{transport} on {manager.host}"
                match error.errno:
                    case errno.EADDRNOTAVAIL:
                        reason = f"{manager.host} is no address of this machine"
                    case errno.EADDRINUSE:
                        held_by = holder(transport, port, manager.host) or "another process"
                        reason = f"{where} is taken by {held_by}"
                    case _:
                        reason = f"{where}: {error.strerror}"
                raise CannotStart(f"{reason}; `{way_out}` needs other ports, and 127.0.0.1 alone") from None


def bind_once(transport: str, host: str, port: int) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if transport == "tcp":  # as servers do: what a former demo's closed connections hold is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def take_empty(folder: Path) -> None:
    """Make `folder`, or empty it, and keep any other demo out of it until this process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        for entry in folder.iterdir():
            shutil.rmtree(entry)
    except BlockingIOError:
        raise CannotStart(f"another demo is using {folder}; end it first") from None
    except OSError as error:
        raise CannotStart(f"{folder} cannot be emptied: {error.strerror}; remove it first") from None


@dataclass(frozen=True, slots=True)
class Keys:
    """What closes the doors of gossip and nodes, made anew for each demo."""

    gossip: str = field(default_factory=lambda: b64encode(secrets.token_bytes(32)).decode())
    join: str = field(default_factory=lambda: secrets.token_urlsafe(32))


def write_manager_config(path: Path, manager: Manager, managers: Sequence[Manager], keys: Keys) -> None:
    # All list all, so one list serves every host; a manager knows itself among its peers.
    peers = "".join(f"  - {peer.host}:{peer.gossip_port}\n" for peer in managers)
    state = json.dumps(str(path.parent / "state"))  # quoted as YAML quotes, whatever the path holds
    path.touch(mode=0o600)
    path.write_text(
        f"name: {manager.name}\n"
        f"state_dir: {state}\n"
        f"bind: {manager.host}\n"
        f"node_port: {manager.node_port}\n"
        f"gossip_port: {manager.gossip_port}\n"
        f"http_port: {manager.http_port}\n"
        f"peers:\n{peers}"
        f"gossip: {{key: {keys.gossip}}}\n"
        f"nodes: {{tokens: {{demo: {{sha256: {sha256(keys.join.encode()).hexdigest()}}}}}}}\n"
        "limits: {public: {max_rate: 900, every: 1s}}\n"
    )


def write_node_config(path: Path, name: str, managers: Sequence[Manager], keys: Keys) -> None:
    seeds = "".join(f"  - {manager.host}:{manager.node_port}\n" for manager in managers)
    state = json.dumps(str(path.parent / "state"))
    path.touch(mode=0o600)
    path.write_text(f'name: {name}\nseed:\n{seeds}state_dir: {state}\napi: ""\ntoken: {keys.join}\n')


# --- Processes


class Screen:
    """Every line that a process writes, after the process's name."""

    def __init__(self, interrupt: Callable[[int], None]) -> None:
        self._interrupt = interrupt
        self._colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def say(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:  # the terminal or the pipe's reader has gone: as good as a hang-up
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._interrupt(signal.SIGHUP)

    def prefix(self, number: int, name: str) -> str:
        return f"\x1b[{COLOURS[number]}m{name} |\x1b[0m " if self._colours else f"{name} | "


@dataclass(slots=True)
class Child:
    """A started process, and the task that shows what it says until it ends."""

    name: str
    process: asyncio.subprocess.Process
    show: asyncio.Task[None]


def how_it_ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def die_with_parent() -> None:
    """Run in a child before its program: it is sent SIGTERM when the demo ends, even by SIGKILL."""
    pr_set_pdeathsig = 1
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def inactive_nodes(view: View) -> Iterator[str]:
    """A sentence for each of our nodes that is not active in `view`."""
    for name in NODES:
        entries = [node for node in view.nodes if node["name"] == name]
        if not any(node["state"] == "active" for node in entries):
            yield f"{name} is " + (
                " and ".join(f"{node['state']} ({node['why']})" for node in entries) or "not listed"
            )


async def wait_for_ends(children: Sequence[Child], seconds: float) -> None:
    # Not `process.wait()`, which also waits for whatever a child left behind with its output open.
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(child.process.returncode is not None for child in children):
            return
        await asyncio.sleep(0.05)


class Cluster:
    """The eight processes, from start to end."""

    def __init__(self, programs: Path, folder: Path, managers: Sequence[Manager], screen: Screen) -> None:
        self._programs = programs
        self._folder = folder
        self._managers = managers
        self._screen = screen
        self._children: list[Child] = []

    async def start(self) -> None:
        keys = Keys()
        self._screen.say("Three managers start, then five nodes.")
        for manager in self._managers:
            config = self._folder / manager.name / "cluster-manager.yml"
            config.parent.mkdir()
            write_manager_config(config, manager, self._managers, keys)
            await self._start(manager.name, MANAGER, "--config", str(config))
        await self._managers_listen(START_SECONDS)
        for name in NODES:
            config = self._folder / name / "service.yml"
            config.parent.mkdir()
            write_node_config(config, name, self._managers, keys)
            await self._start(name, NODE, "--service", str(config))

    async def _managers_listen(self, seconds: float) -> None:
        """Until all do, one has ended, or time is up: nodes that come before them find nobody."""
        deadline = time.monotonic() + seconds
        waiting = list(self._managers)
        while waiting and not self.ends() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                # Its HTTP port is the last that a manager opens.
                _, writer = await asyncio.open_connection(waiting[0].host, waiting[0].http_port)
                writer.close()
                waiting.pop(0)
                continue
            await asyncio.sleep(0.05)

    async def _start(self, name: str, program: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            self._programs / program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Options of the operator's own managers and nodes are not meant for these.
            env={key: value for key, value in os.environ.items() if not key.startswith(("KCM_", "KRAKEND_"))},
            # A group of its own: Ctrl-C reaches the demo alone, which ends the others in order.
            process_group=0,
            preexec_fn=die_with_parent,
        )
        prefix = self._screen.prefix(len(self._children), name)
        self._children.append(Child(name, process, asyncio.create_task(self._show(process, prefix))))

    async def _show(self, process: asyncio.subprocess.Process, prefix: str) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the reader's buffer, which has let go of it
                line = b"(a line too long to show)"
            if not line:
                break
            self._screen.say(prefix + line.decode(errors="replace").rstrip("\r\n"))
        self._screen.say(f"{prefix}({how_it_ended(await process.wait())})")

    def ends(self) -> list[str]:
        """A sentence for each process that has ended."""
        return [
            f"{child.name} {how_it_ended(child.process.returncode)}"
            for child in self._children
            if child.process.returncode is not None
        ]

    async def wait_for_all_ends(self) -> None:
        await wait_for_ends(self._children, math.inf)

    async def faults(self) -> list[str]:
        """A sentence for each thing that is amiss, going by the processes and by the managers' public API."""
        ended = {child.name for child in self._children if child.process.returncode is not None}
        asked = {manager.name: manager.url for manager in self._managers if manager.name not in ended}
        views = await fetch_views(asked)
        inactive = [
            fault for view in views.values() if isinstance(view, View) for fault in inactive_nodes(view)
        ]
        return [*self.ends(), *dict.fromkeys(inactive), *agree(views)]

    async def stop(self) -> None:
        """End all: nodes first, while there are managers to say goodbye to."""
        for those in (NODES, [manager.name for manager in self._managers]):
            children = [child for child in self._children if child.name in those]
            for child in children:
                if child.process.returncode is None:
                    child.process.terminate()
            await wait_for_ends(children, STOP_SECONDS)
        self.kill()
        await asyncio.gather(*(child.show for child in self._children))

    def kill(self) -> None:
        """End at once what is left of all process groups."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)


# --- The course of a demo


async def run(programs: Path, first_port: int | None, duration: float | None) -> int:
    """The exit code; `CannotStart` or `Failed` where it is 2 or 1."""
    managers = layout(first_port)
    way_out = f"make demo PORTS={17000 if first_port is None or first_port > 65000 else first_port + 100}"
    for program in (MANAGER, NODE):
        if not (programs / program).exists():
            raise CannotStart(f"{programs / program} is missing; `make venv` installs it")
    check_ports(managers, way_out)
    folder = ROOT / ".demo" / str(managers[0].node_port)
    take_empty(folder)

    loop = asyncio.get_running_loop()
    interrupted: asyncio.Future[int] = loop.create_future()

    def interrupt(number: int) -> None:
        if not interrupted.done():
            interrupted.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt, number)

    screen = Screen(interrupt)
    cluster = Cluster(programs, folder, managers, screen)
    story = asyncio.create_task(tell(cluster, screen, managers[0].url, duration))
    either: list[asyncio.Future[Any]] = [story, interrupted]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    cut_short = not story.done()
    story.cancel()
    await asyncio.wait([story])
    # A second Ctrl-C is impatience. SIGTERM may come twice, from make and from whoever told make.
    loop.add_signal_handler(signal.SIGINT, cluster.kill)
    await cluster.stop()
    if cut_short:
        return 0 if duration is None else 128 + interrupted.result()
    screen.say(story.result())
    return 0


async def tell(cluster: Cluster, screen: Screen, page: str, duration: float | None) -> str:
    """Start all, wait for the end; what to say about it when all was well, else `Failed`."""
    await cluster.start()
    await wait_until_well(cluster, START_SECONDS)
    until = "Ctrl-C ends it" if duration is None else f"it ends by itself in {duration:g} s"
    if page != layout(None)[0].url:
        screen.say(f"For kcm in another terminal: export KCM_MANAGER={page}")
    screen.say(f"Three managers and five nodes are in. The page: {page} ({until})")
    if duration is None:
        await cluster.wait_for_all_ends()
        raise Failed("all processes have ended")
    await asyncio.sleep(duration)
    await wait_until_well(cluster, SETTLE_SECONDS)
    return "All five nodes are active, and the three managers agree."


async def wait_until_well(cluster: Cluster, seconds: float) -> None:
    """Raise `Failed` as soon as a process has ended, or if something else is amiss after `seconds`."""
    deadline = time.monotonic() + seconds
    while faults := await cluster.faults():
        if cluster.ends() or time.monotonic() > deadline:
            raise Failed("; ".join(faults))
        await asyncio.sleep(POLL_SECONDS)


def port_block(text: str) -> int:
    if text.isdecimal() and 1024 <= int(text) <= 65500:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} is no port from 1024 to 65500, the first of three blocks of ten"
    )


def seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description="Three managers and five nodes on this machine.")
    parser.add_argument(
        "--ports", type=port_block, metavar="FIRST", help="use 127.0.0.1 alone, from this port on"
    )
    parser.add_argument(
        "--duration", type=seconds, metavar="SECONDS", help="end by itself, and say if all was well"
    )
    parser.add_argument(
        "--programs",
        type=Path,
        metavar="FOLDER",
        default=Path(sys.executable).parent,
        help="where the console scripts are (default: beside this Python)",
    )
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):  # what the processes log is UTF-8, whatever the locale says
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    try:
        return asyncio.run(run(options.programs, options.ports, options.duration))
    except CannotStart as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
