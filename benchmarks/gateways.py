"""Real gateways behind agents, each in a network namespace of its own, and what they let through.

What a gateway lets through is counted where it arrives. All that is started here ends with this process.
"""

import asyncio
import signal
import sys
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from benchmarks.networks import Namespaces
from benchmarks.processes import BenchmarkError, Process, start
from node.gateways.haproxy import ask_socket

BACKEND_PORT = 8000
GATEWAY_PORT = 8080
CONNECTIONS = 8
PAUSE_MS = 8
"""Between two requests on one connection: all of them ask for about three times the whole limit."""

NGINX = """
user root; worker_processes 1; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    include zones.conf;
    upstream backend {{ server {backend}; keepalive 32; }}
    server {{
        listen {port};
        limit_req_status 429;
        location / {{
            limit_req zone=public burst=5 nodelay;
            proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_pass http://backend;
        }}
        location = /status {{ stub_status; }}
    }}
}}
"""
HAPROXY = """
global
    stats socket {folder}/admin.sock mode 660 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend gateway
    bind :{port}
    stick-table type string len 64 size 64 expire 1h store gpc0,gpc0_rate(1s)
    http-request track-sc0 str(public)
    http-request set-var(txn.limit) str(public),map_str_int({folder}/limits.map,0)
    http-request deny status 429 if {{ sc0_gpc0_rate,sub(txn.limit) ge 0 }}
    http-request sc-inc-gpc0(0)
    default_backend counted
backend counted
    server backend {backend}
"""
LUA = "function delay() return {pause} end\n"
IGNORING = """
import sys
import node.gateways.nginx
node.gateways.nginx.rate = lambda limit: "{rate:g}r/s"
from node.cli import main
main(sys.argv[1:])
"""


@dataclass(slots=True)
class Backend:
    """Answers every request with 200, and notes when it came and from which gateway."""

    arrived: dict[str, list[float]] = field(default_factory=dict)

    async def serve(self, host: str) -> asyncio.Server:
        """Listen at `host`; an `asyncio` server, to be closed."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Counted(self.arrived), host, BACKEND_PORT)

    def per_second(self, begin: float, end: float, hosts: Iterable[str] | None = None) -> float:
        """Requests a second from `begin` to `end`, of all gateways or those at `hosts`."""
        counted = sum(
            bisect_left(times, end) - bisect_left(times, begin)
            for host, times in self.arrived.items()
            if hosts is None or host in hosts
        )
        return counted / (end - begin)

    def highest(
        self, begin: float, end: float, width: float = 2.0, hosts: Iterable[str] | None = None
    ) -> float:
        """The most per second in any `width` seconds between."""
        wanted = None if hosts is None else set(hosts)
        steps = max(1, int((end - begin - width) / 0.1) + 1)
        return max(self.per_second(begin + 0.1 * at, begin + 0.1 * at + width, wanted) for at in range(steps))


class _Counted(asyncio.Protocol):
    def __init__(self, arrived: dict[str, list[float]]) -> None:
        self._arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's derives from none of them
        self._times = self._arrived.setdefault(transport.get_extra_info("peername")[0], [])
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in whole:
            self._times.append(time.monotonic())
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class Fleet:
    """Managers m1, m2, … and nodes n1, n2, … each at a host of its own, with a backend for all."""

    def __init__(self, kind: str, folder: Path, managers: int, nodes: int, settings: str) -> None:
        """`kind` is nginx or haproxy; `settings` is every manager's configuration file."""
        self.kind = kind
        self.backend = Backend()
        self.managers: dict[str, Process] = {}
        self.nodes: dict[str, Process] = {}
        self._folder = folder
        self._settings = folder / "manager.yml"
        self._settings.write_text(settings)
        self._network = Namespaces(managers + nodes)
        self._hub = self._network.listen_on_hub()
        hosts = self._network.hosts(managers + nodes)
        self.hosts = {f"m{at + 1}": host for at, host in enumerate(hosts[:managers])}
        self.hosts |= {f"n{at + 1}": host for at, host in enumerate(hosts[managers:])}
        self._loads: list[Process] = []
        self._alone: list[Process] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to count."""
        self._server = await self.backend.serve(self._hub)

    async def start_manager(self, name: str) -> None:
        program = str(Path(sys.executable).parent / "krakend-cluster-manager")
        host = self.hosts[name]
        peers = [f"--peer={self.hosts[peer]}" for peer in self.hosts if peer[0] == "m"]
        self.managers[name] = process = await start(
            name,
            *self._network.inside(host),
            program,
            f"--config={self._settings}",
            f"--name={name}",
            f"--bind={self._network.bind(host)}",
            f"--advertise={host}",
            f"--state-dir={self._folder}",
            *peers,
        )
        await process.until_ready(" is listening: ")

    async def start_node(self, name: str, *seeds: str, ignoring: float = 0.0) -> None:
        """A node and its gateway; one that is `ignoring` its share lets so many requests a second through."""
        folder = self._prepare(name)
        gateway = f"{{kind: nginx, config: {folder}/gateway.conf, limits: {folder}/zones.conf}}"
        if self.kind == "haproxy":
            files = f"limits: {folder}/limits.map, socket: {folder}/admin.sock"
            gateway = f"{{kind: haproxy, config: {folder}/gateway.conf, {files}}}"
        listed = ", ".join(self.hosts[seed] for seed in seeds)
        service = folder / "service.yml"
        service.write_text(
            f'seed: {listed}\nname: {name}\nstate_dir: {folder}\napi: ""\ngateway: {gateway}\n'
        )
        command = [str(Path(sys.executable).parent / "krakend-cluster-node")]
        if ignoring:
            command = [sys.executable, "-c", IGNORING.format(rate=ignoring)]
        inside = self._network.inside(self.hosts[name])
        self.nodes[name] = process = await start(name, *inside, *command, f"--service={service}")
        await process.until_ready("The gateway is started")

    async def start_alone(self, name: str, rate: float) -> None:
        """A gateway as it is without us: at the full limit."""
        folder = self._prepare(name)
        zone = f"limit_req_zone all zone=public:32k rate={rate:g}r/s;\n"
        (folder / "zones.conf").write_text(zone)
        (folder / "limits.map").write_text(f"public {rate:g}\n")
        command = ["haproxy", "-db", "-f", f"{folder}/gateway.conf"]
        if self.kind == "nginx":
            command = ["nginx", "-e", "stderr", "-c", f"{folder}/gateway.conf", "-g", "daemon off;"]
        process = await start(name, *self._network.inside(self.hosts[name]), *command)
        self._alone.append(process)
        await self._until_served(name)

    async def end_alone(self) -> None:
        """End the gateways that nobody looks after, and what they left."""
        for process in self._alone:
            process.send(signal.SIGTERM)
        await asyncio.gather(*(process.child.wait() for process in self._alone))
        self._alone.clear()
        for path in [*self._folder.glob("n*/zones.conf"), *self._folder.glob("n*/limits.map")]:
            path.unlink()

    async def load(self, name: str) -> None:
        """More requests on the gateway of `name` than the whole limit, until the end; it may restart."""
        script = self._folder / "pause.lua"
        script.write_text(LUA.format(pause=PAUSE_MS))
        command = (
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            "-d1h",
            f"-s{script}",
            f"http://127.0.0.1:{GATEWAY_PORT}/",
        )
        await self._until_served(name)
        self._loads.append(await start(f"wrk on {name}", *self._network.inside(self.hosts[name]), *command))

    async def end_load(self) -> None:
        await asyncio.gather(*(process.kill() for process in self._loads))
        self._loads.clear()

    def cut(self, *sides: Iterable[str]) -> None:
        """Nothing passes between the members of different sides."""
        left, right = ([self.hosts[name] for name in side] for side in sides)
        self._network.cut(left, right)

    def heal(self) -> None:
        self._network.heal()

    async def reloads(self, name: str) -> int:
        """How often HAProxy of node `name` has reloaded."""
        socket = self._folder / name / "admin.sock.master"
        shown = await ask_socket(str(socket), "show proc")
        for line in shown.splitlines():
            if len(words := line.split()) > 2 and words[1] == "master":
                return int(words[2])
        raise BenchmarkError(f"haproxy of {name} does not say how often it has reloaded")

    async def close(self) -> None:
        await self.end_load()
        for process in [*self.nodes.values(), *self._alone]:
            process.send(signal.SIGTERM)
        for process in self.managers.values():
            process.send(signal.SIGKILL)
        for process in [*self.nodes.values(), *self._alone, *self.managers.values()]:
            try:
                await asyncio.wait_for(process.child.wait(), 5)
            except TimeoutError:
                await process.kill()
        if self._server is not None:
            self._server.close()

    def _prepare(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        template = NGINX if self.kind == "nginx" else HAPROXY
        backend = f"{self._hub}:{BACKEND_PORT}"
        text = template.format(folder=folder, port=GATEWAY_PORT, backend=backend)
        (folder / "gateway.conf").write_text(text)
        return folder

    async def _until_served(self, name: str) -> None:
        for _ in range(200):
            try:
                _, writer = await self._network.connect(self.hosts[name], GATEWAY_PORT)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
        raise BenchmarkError(f"the gateway of {name} does not listen")
