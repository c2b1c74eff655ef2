"""The agent as a real process, with a manager that does as it is told."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestServer, unused_port
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node.bundle import Bundle
from node.codec import decode, encode
from node.gateways.processes import process_id
from node.jws import public_text
from node.protocol import (
    CLOSE_MOVING,
    CLOSE_PROTOCOL,
    PATH,
    SUBPROTOCOL,
    AnyMessage,
    Hello,
    Lease,
    Leave,
    Limit,
    LimitsPush,
    ManagerMessage,
    MayRestart,
    Redirect,
    Refused,
    Report,
    Reported,
    Welcome,
)

Value = TypeVar("Value")
Message = TypeVar("Message")
ROOT = Path(__file__).parents[2]
ID = "krakend_3f20a44d-3d93-4bc9-829b-b76b22055142"


class Manager:
    """Answers hellos as `answer` says, and keeps what it hears."""

    def __init__(self) -> None:
        self.name = "m1"
        self.port = 0
        self.heard: list[AnyMessage] = []
        self.codes: list[int | None] = []
        self.answer: Callable[[Hello], ManagerMessage] = self.welcome
        self.managers: tuple[str, ...] = ()
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._sockets)

    def welcome(self, hello: Hello) -> Welcome:
        return Welcome(
            id=ID,
            ticket="t",
            incarnation=hello.incarnation,
            manager=self.name,
            managers=self.managers,
            heartbeat=0.2,
            limits_version=3,
            limits={"public": Limit(100.0)},
            free_limits={},
        )

    async def start(self) -> None:
        app = web.Application()
        app.add_routes([web.get(PATH, self._serve)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def die(self) -> None:
        """As by kill -9: connections break without a word, and nobody listens any more."""
        for socket in list(self._sockets):
            assert socket._req is not None
            assert socket._req.transport is not None
            socket._req.transport.abort()
        assert self._runner is not None
        await self._runner.cleanup()

    async def hears(self, kind: type[Message], within: float = 10.0) -> Message:
        """The last message of `kind`; waits for one."""
        return await eventually(
            lambda: next((m for m in reversed(self.heard) if isinstance(m, kind)), None), within
        )

    async def send(self, message: ManagerMessage) -> None:
        for socket in self._sockets:
            await socket.send_bytes(encode(message))

    async def close(self, code: int) -> None:
        for socket in list(self._sockets):
            await socket.close(code=code)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async for frame in socket:
                assert frame.type is WSMsgType.BINARY
                message = decode(frame.data)
                assert message is not None
                self.heard.append(message)
                if isinstance(message, Hello):
                    await socket.send_bytes(encode(self.answer(message)))
                elif isinstance(message, Report):
                    await socket.send_bytes(encode(Reported(number=message.number)))
        except ConnectionError:
            pass
        finally:
            self._sockets.discard(socket)
            self.codes.append(socket.close_code)
        return socket


class Node:
    """A running `krakend-cluster-node`."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def line(self, pattern: str, within: float = 10.0) -> str:
        """The first line that matches; waits for it."""
        return await eventually(lambda: next((x for x in self.lines if re.search(pattern, x)), None), within)

    async def ends(self, within: float = 10.0) -> int:
        """Its exit code; by then all of its output is in `lines`."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await self._reading
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().removesuffix("\n"))


async def eventually(found: Callable[[], Value | None], within: float = 10.0) -> Value:
    until = time.monotonic() + within
    while (value := found()) is None:
        assert time.monotonic() < until, "it did not happen in time"
        await asyncio.sleep(0.02)
    return value


def source_in(limits: Path) -> str | None:
    """Where the limits in this file of a node are from; None while there is no file."""
    return str(json.loads(limits.read_text())["source"]) if limits.exists() else None


class StartNode(Protocol):
    async def __call__(self, service: str, environ: Mapping[str, str] = {}) -> Node: ...


@pytest.fixture
async def start_node(tmp_path: Path) -> AsyncIterator[StartNode]:
    """Start a node with this `service.yml`, its state in the test's own directory and no API unless named."""
    nodes: list[Node] = []

    async def start(service: str, environ: Mapping[str, str] = {}) -> Node:
        file = tmp_path / "service.yml"
        file.write_text(service)
        defaults = {"KRAKEND_NODE_STATE_DIR": str(tmp_path / "state")}
        if "api:" not in service:
            defaults["KRAKEND_NODE_API"] = ""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "node.cli", "--service", str(file)),
            stdout=PIPE,
            stderr=STDOUT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **defaults, **environ},
        )
        nodes.append(Node(process))
        return nodes[-1]

    yield start
    for node in nodes:
        with contextlib.suppress(ProcessLookupError):
            node.process.terminate()
        try:
            await node.ends(5.0)
        except TimeoutError:
            node.process.kill()
            await node.ends()


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    made = Manager()
    await made.start()
    yield made
    await made.die()


@pytest.fixture
async def second_manager() -> AsyncIterator[Manager]:
    made = Manager()
    made.name = "m2"
    await made.start()
    yield made
    await made.die()


def is_running(pid: int) -> bool:
    return process_id(pid) is not None


async def pid_in(file: Path) -> int:
    return int(await eventually(lambda: (file.exists() and file.read_text().strip()) or None))


STAYS = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
IGNORES_TERM = f"import signal; signal.signal(15, signal.SIG_IGN); {STAYS}"


def gateway(program: str, *arguments: object, **keys: object) -> str:
    run = [sys.executable, "-I", "-S", "-c", program, *map(str, arguments)]
    return "gateway: " + json.dumps({"kind": "command", "run": run, **keys}) + "\n"


async def test_a_node_joins_reports_writes_its_limits_and_leaves(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    node = await start_node(f"seed: {manager.address}\nlimits_file: {tmp_path}/limits.json\n")
    await node.line(rf"▶ INFO Joined as {ID}, manager m1 \({manager.address}\)$")
    report = await eventually(
        lambda: next((m for m in manager.heard if isinstance(m, Report) and m.limits_version == 3), None)
    )
    assert report.gateway == "none"
    assert report.counters["agent_cpu_seconds"] > 0
    await eventually(lambda: len([m for m in manager.heard if isinstance(m, Report)]) > 3 or None)
    await eventually(lambda: source_in(tmp_path / "limits.json") == "lease" or None)
    assert json.loads((tmp_path / "limits.json").read_text()) == {
        "version": 3,
        "source": "lease",
        "limits": {"public": {"max_rate": 100.0, "every": "1s"}},
    }
    node.signal(signal.SIGTERM)
    assert await node.ends(3.0) == 0
    assert isinstance(manager.heard[-1], Leave)
    assert manager.codes == [1000]


async def test_a_restart_keeps_key_and_id_and_raises_the_incarnation(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    for _ in range(2):
        node = await start_node(f"seed: {manager.address}\n")
        await node.line("Joined as")
        await eventually(lambda: ID in (tmp_path / "state/default/state.json").read_text() or None)
        node.signal(signal.SIGKILL)
        await node.ends()
    first, second = [m for m in manager.heard if isinstance(m, Hello)]
    assert (first.id, second.id) == ("", ID)
    assert first.key == second.key
    assert first.nonce != second.nonce
    assert (first.incarnation, second.incarnation) == (1, 2)


async def test_a_refused_node_says_the_sentence_keeps_its_gateway_and_comes_again(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    sentence = (
        "Your current subscription does not allow more nodes running. Please upgrade to add more nodes."
    )
    manager.answer = lambda hello: Refused(
        code="full", sentence=sentence, retry_after=2.0, free_limits={"public": Limit(1.0)}
    )
    node = await start_node(
        f"seed: {manager.address}\nlimits_file: {tmp_path}/limits.json\n" + gateway(STAYS, tmp_path / "pid")
    )
    assert (await node.line("subscription")).endswith(f"▶ WARN {sentence}")
    await eventually(lambda: manager.connections == 0 or None)
    await eventually(lambda: source_in(tmp_path / "limits.json") == "free" or None)
    assert is_running(await pid_in(tmp_path / "pid"))
    manager.answer = manager.welcome
    await node.line("Joined as")
    await eventually(lambda: source_in(tmp_path / "limits.json") == "lease" or None)


async def test_without_managers_for_too_long_a_node_has_the_free_limits_over_its_restarts_until_one_is_back(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    limits, port = tmp_path / "limits.json", unused_port()

    async def shown() -> dict[str, object]:
        async with ClientSession() as client, client.get(f"http://127.0.0.1:{port}/v1/node") as response:
            return dict(await response.json())

    free = {"public": Limit(1.0)}
    manager.answer = lambda hello: replace(manager.welcome(hello), free_limits=free, degrade_after=2.0)
    service = f"seed: {manager.address}\nlimits_file: {limits}\napi: 127.0.0.1:{port}\n"
    node = await start_node(service)
    await node.line("Joined as")
    await eventually(lambda: source_in(limits) == "lease" or None)
    at_first = await shown()
    assert (at_first["registered"], at_first["service"]) == (True, "in service")
    await manager.die()
    await node.line("No manager is heard: in .* gives up its place")
    await node.line("until one is back the free limits hold, and this node has no place in the cluster")
    await eventually(lambda: source_in(limits) == "free" or None)
    assert json.loads(limits.read_text())["limits"] == {"public": {"max_rate": 1.0, "every": "1s"}}
    now = await shown()
    assert (now["id"], now["registered"], now["degrades_in_seconds"]) == (ID, False, 0.0)
    node.signal(signal.SIGKILL)
    await node.ends()
    node = await start_node(service)
    await node.line("until one is back the free limits hold")
    await eventually(lambda: source_in(limits) == "free" or None)
    await manager.start()
    await node.line("Joined as")
    await eventually(lambda: source_in(limits) == "lease" or None)
    assert (await shown())["registered"] is True


async def test_a_new_node_starts_by_a_bundle_or_by_a_neighbour_while_no_manager_answers(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    key = Ed25519PrivateKey.generate()
    bundle = Bundle(
        group="blue",
        issued=time.time(),
        expires=time.time() + 60.0,
        managers=(manager.address,),
        limits={"public": Limit(7.0)},
    )
    (tmp_path / "bundle").write_text(bundle.signed(key))
    port, nobody = unused_port(), unused_port()

    def service(name: str, more: str) -> str:
        return f"seed: 127.0.0.1:{nobody}\nname: {name}\nlimits_file: {tmp_path}/{name}.json\n{more}"

    def limits(name: str) -> dict[str, object]:
        return dict(json.loads((tmp_path / f"{name}.json").read_text()))

    await manager.die()
    by_bundle = f"bundle: {{file: {tmp_path}/bundle, key: {public_text(key)}}}\napi: 127.0.0.1:{port}\n"
    first = await start_node(service("first", by_bundle + "token: secret\n"))
    await first.line("it runs provisionally, by its bundle")
    await eventually(lambda: (tmp_path / "first.json").exists() or None)
    assert limits("first")["source"] == "provisional"
    assert limits("first")["limits"] == {"public": {"max_rate": 7.0, "every": "1s"}}
    lease = {"public": Lease(20.0, 60.0, Limit(5.0))}
    manager.answer = lambda hello: replace(manager.welcome(hello), leases=lease)
    await manager.start()
    await first.line("Joined as")  # by the address in its bundle
    await manager.die()
    stranger = await start_node(service("stranger", f"neighbours: 127.0.0.1:{port}\n"))
    await stranger.line("gives no bundle: show this node's own `token`")
    second = await start_node(service("second", f"neighbours: 127.0.0.1:{port}\ntoken: secret\n"))
    await second.line("it runs provisionally, by its bundle")
    await eventually(lambda: (tmp_path / "second.json").exists() or None)
    assert limits("second")["limits"] == {"public": {"max_rate": 5.0, "every": "1s"}}
    await manager.start()
    await second.line("Joined as")


async def test_a_node_whose_manager_dies_is_on_another_within_two_seconds(
    manager: Manager, second_manager: Manager, start_node: StartNode
) -> None:
    manager.managers = (manager.address, second_manager.address)
    node = await start_node(f"seed: {manager.address}\n")
    await node.line("Joined as .* manager m1")
    await manager.die()
    await node.line("Joined as .* manager m2", within=2.0)
    lost = rf"Lost manager m1 \({manager.address}\): the connection broke without a goodbye: .*; next try in "
    assert any(re.search(lost, line) for line in node.lines)
    await manager.start()


async def test_a_redirected_node_says_that_it_moves(
    manager: Manager, second_manager: Manager, start_node: StartNode
) -> None:
    node = await start_node(f"seed: {manager.address}\n")
    await node.line("Joined as .* manager m1")
    await manager.send(Redirect(managers=(second_manager.address,), going=True))
    await node.line("Joined as .* manager m2", within=2.0)
    await eventually(lambda: manager.codes == [CLOSE_MOVING] or None)


async def test_a_manager_that_breaks_the_protocol_is_left_with_the_reason(
    manager: Manager, start_node: StartNode
) -> None:
    node = await start_node(f"seed: {manager.address}\n")
    await node.line("Joined as")
    await manager.send(Leave())  # type: ignore[arg-type]
    await node.line("breaks the protocol: a manager does not say leave")
    await eventually(lambda: manager.codes == [CLOSE_PROTOCOL] or None)


async def test_a_node_started_before_any_manager_waits_with_a_line_per_step_its_gateway_running(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    await manager.die()
    node = await start_node(f"seed: {manager.address}\n" + gateway(STAYS, tmp_path / "pid"))
    assert is_running(await pid_in(tmp_path / "pid"))
    await node.line(rf"No manager at {manager.address}: connection refused; next try in \d\.\d s at")
    await manager.start()
    await node.line("Joined as")


async def test_a_port_that_is_no_node_port_is_named_as_such(start_node: StartNode) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01gossip")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        node = await start_node(f"seed: 127.0.0.1:{port}\n")
        await node.line("it answers, but not as a manager's node port: nodes connect to `node_port`")


@pytest.mark.parametrize("program", [STAYS, IGNORES_TERM])
async def test_a_killed_agent_takes_its_gateway_along(
    tmp_path: Path, manager: Manager, start_node: StartNode, program: str
) -> None:
    node = await start_node(
        f"seed: {manager.address}\n" + gateway(program, tmp_path / "pid", stop_timeout="500ms")
    )
    await node.line("Joined as")
    pid = await pid_in(tmp_path / "pid")
    node.process.kill()
    await eventually(lambda: not is_running(pid) or None, within=3.0)


async def test_a_gateway_left_by_an_earlier_agent_is_ended_before_another_starts(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    service = f"seed: {manager.address}\n" + gateway(STAYS, tmp_path / "pid", stop_timeout="500ms")
    node = await start_node(service)
    await node.line("Joined as")
    node.process.kill()
    await node.ends()
    left = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        state = tmp_path / "state" / "default" / "state.json"
        recorded = process_id(left.pid)
        assert recorded is not None
        state.write_text(json.dumps({**json.loads(state.read_text()), "gateway": recorded.model_dump()}))
        node = await start_node(service)
        await node.line(f"The gateway of an earlier agent still runs, pid {left.pid}: ending it first")
        await node.line("The gateway is started")
        assert await left.wait() == -signal.SIGTERM
    finally:
        with contextlib.suppress(ProcessLookupError):
            left.kill()


async def test_an_agent_with_a_copied_state_leaves_the_gateway_of_the_running_agent_alone(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    service = f"seed: {manager.address}\n" + gateway(STAYS, tmp_path / "pid", stop_timeout="500ms")
    node = await start_node(service)
    await node.line("Joined as")
    pid = await pid_in(tmp_path / "pid")
    copied = tmp_path / "state" / "copied"
    shutil.copytree(tmp_path / "state" / "default", copied)
    second = await start_node(
        "name: copied\n" + service.replace(str(tmp_path / "pid"), str(tmp_path / "two"))
    )
    await second.line(f"its gateway, pid {pid}, is left alone")
    await pid_in(tmp_path / "two")
    assert is_running(pid)


@pytest.mark.parametrize(
    "program",
    ["raise SystemExit(0)", "import os; os.kill(os.getpid(), 15)", "import os; os.kill(os.getpid(), 2)"],
)
async def test_a_gateway_stopped_by_its_operator_ends_the_agent_which_leaves(
    tmp_path: Path, manager: Manager, start_node: StartNode, program: str
) -> None:
    wait = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)\n{program}"
    node = await start_node(
        f"seed: {manager.address}\n" + gateway(f"import signal; signal.signal(2, signal.SIG_DFL)\n{wait}")
    )
    await node.line("Joined as")
    (tmp_path / "go").touch()
    assert await node.ends(3.0) == 0
    assert manager.heard[-1] == Leave(reason="its gateway was stopped")


async def test_a_gateway_that_crashes_is_started_again_while_the_node_stays(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    node = await start_node(
        f"seed: {manager.address}\n" + gateway("import time; time.sleep(0.3); raise SystemExit(3)")
    )
    await node.line("The gateway ended with exit code 3: next start in")
    await eventually(
        lambda: (
            any(isinstance(m, Report) and m.counters["gateway_restarts"] >= 2 for m in manager.heard) or None
        )
    )
    assert len([m for m in manager.heard if isinstance(m, Hello)]) == 1


async def test_a_stopped_agent_ends_all_of_its_gateways_group(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    forks = f"import os; os.fork() and os.wait(); {IGNORES_TERM}"
    node = await start_node(
        f"seed: {manager.address}\n" + gateway(forks, tmp_path / "pid", stop_timeout="300ms")
    )
    worker = await pid_in(tmp_path / "pid")
    node.signal(signal.SIGTERM)
    assert await node.ends(5.0) == 0
    assert not is_running(worker)


async def test_a_second_signal_ends_a_gateway_that_does_not_want_to(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    node = await start_node(
        f"seed: {manager.address}\n" + gateway(IGNORES_TERM, tmp_path / "pid", stop_timeout="1m")
    )
    pid = await pid_in(tmp_path / "pid")
    node.signal(signal.SIGTERM)
    await node.line("Leaving: stopped by its operator")
    node.signal(signal.SIGTERM)
    assert await node.ends(10.0) == 0
    assert not is_running(pid)


async def test_a_gateway_that_goes_to_the_background_is_warned_about(
    manager: Manager, start_node: StartNode
) -> None:
    node = await start_node(f"seed: {manager.address}\n" + gateway("raise SystemExit(0)"))
    assert await node.ends() == 0
    assert any("Did it go to the background?" in line for line in node.lines)


async def test_a_node_that_cannot_save_says_no_hello_until_it_can(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    in_the_way = tmp_path / "state" / "default" / ".state.json.new"
    in_the_way.mkdir(parents=True)
    node = await start_node(f"seed: {manager.address}\n" + gateway(STAYS, tmp_path / "pid"))
    await node.line("No hello without a saved state: .* cannot be written: is a directory")
    assert is_running(await pid_in(tmp_path / "pid"))
    assert manager.heard == []
    in_the_way.rmdir()
    await node.line("Joined as")


async def test_none_of_our_variables_reaches_the_gateway(tmp_path: Path, start_node: StartNode) -> None:
    program = "import os, sys, time; open(sys.argv[1], 'w').write(' '.join(os.environ)); time.sleep(60)"
    await start_node(
        gateway(program, tmp_path / "names"),
        environ={"KRAKEND_SEED": "127.0.0.1:1", "KCM_X": "1", "KRAKEND_NODE_LOG_LEVEL": "debug", "OWN": "1"},
    )
    names = await eventually(
        lambda: ((tmp_path / "names").exists() and (tmp_path / "names").read_text()) or None
    )
    assert "OWN" in names.split()
    assert not re.search("KRAKEND_|KCM_", names)


async def test_ready_waits_for_the_gateways_health(tmp_path: Path, start_node: StartNode) -> None:
    healthy = False

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=200 if healthy else 500)

    app = web.Application()
    app.add_routes([web.get("/up", answer)])
    async with TestServer(app) as server, ClientSession() as client:
        port = unused_port()
        node = await start_node(
            f"seed: 127.0.0.1:1\napi: 127.0.0.1:{port}\n"
            + gateway(STAYS, tmp_path / "pid", health=str(server.make_url("/up")))
        )
        await node.line("The gateway is started")
        async with client.get(f"http://127.0.0.1:{port}/ready") as response:
            assert response.status == 503
            assert await response.json() == {"ready": False, "reason": "the gateway is starting"}
        healthy = True
        await node.line("The gateway is healthy")
        async with client.get(f"http://127.0.0.1:{port}/ready") as response:
            assert response.status == 200
        async with client.get(f"http://127.0.0.1:{port}/health") as response:
            assert response.status == 200
        async with client.get(f"http://127.0.0.1:{port}/metrics") as response:
            metrics = await response.text()
        assert "kcm_node_ready 1.0" in metrics
        assert "kcm_node_joined 0.0" in metrics
        assert "kcm_node_agent_cpu_seconds_total" in metrics


async def test_a_second_agent_on_one_state_is_refused(manager: Manager, start_node: StartNode) -> None:
    first = await start_node(f"seed: {manager.address}\n")
    await first.line("Joined as")
    second = await start_node(f"seed: {manager.address}\n")
    assert await second.ends() == 2
    assert re.search(rf"in use by another agent, pid {first.process.pid}: stop it", second.lines[-1])


async def test_a_taken_api_port_is_one_line_and_no_gateway_is_started(
    tmp_path: Path, start_node: StartNode
) -> None:
    async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        node = await start_node(f"seed: a\napi: {address}\n" + gateway(STAYS, tmp_path / "pid"))
        assert await node.ends() == 2
    (line,) = node.lines
    assert line.startswith(
        f"krakend-cluster-node: `api` cannot listen on {address} (address already in use):"
    )
    assert line.endswith('put another address, or `api: ""` for none')
    assert not (tmp_path / "pid").exists()


async def test_a_damaged_state_is_an_error_and_not_a_new_node(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    (tmp_path / "state" / "default").mkdir(parents=True)
    (tmp_path / "state" / "default" / "state.json").write_text("{")
    node = await start_node(f"seed: {manager.address}\n")
    assert await node.ends() == 2
    assert "is damaged" in node.lines[-1]
    assert manager.heard == []


async def test_a_hup_changes_nothing(manager: Manager, start_node: StartNode) -> None:
    node = await start_node(f"seed: {manager.address}\n")
    await node.line("Joined as")
    node.signal(signal.SIGHUP)
    await node.line("HUP has no meaning here")
    assert node.process.returncode is None


async def test_limits_may_be_written_into_a_state_directory_that_is_not_there_yet(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    file = tmp_path / "state" / "default" / "limits.json"
    await start_node(f"seed: {manager.address}\nlimits_file: {file}\n")
    await eventually(lambda: file.exists() or None)


async def test_limits_that_a_gateway_does_not_take_are_said_tried_again_and_confirmed_only_then(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    config, port, api = tmp_path / "krakend.json", unused_port(), unused_port()
    config.write_text("{")
    program = Path(__file__).with_name("krakend.py")
    node = await start_node(
        f"seed: {manager.address}\napi: 127.0.0.1:{api}\n"
        f"gateway: {{kind: krakend, program: {program}, config: {config}, min_interval: 0s}}\n"
    )
    await node.line("Limits 3 are not in force: KrakenD's configuration is not what it should be")
    assert all(m.limits_version == 0 for m in manager.heard if isinstance(m, Report))
    async with ClientSession() as client, client.get(f"http://127.0.0.1:{api}/v1/limits") as answer:
        shown = await answer.json()
    assert (shown["version"], shown["applied"]["version"]) == (3, 0)
    assert "not what it should be" in shown["applied"]["error"]

    endpoint = {"endpoint": "/a", "extra_config": {"cluster/limit": "public"}}
    config.write_text(json.dumps({"version": 3, "port": port, "endpoints": [endpoint]}))
    await says(manager, lambda report: report.limits_version == 3)


async def says(manager: Manager, what: Callable[[Report], bool]) -> Report:
    """The first report that says so; waits for it."""
    return await eventually(
        lambda: next((m for m in manager.heard if isinstance(m, Report) and what(m)), None), 20.0
    )


async def test_a_krakend_that_serves_takes_other_limits_when_a_manager_gives_it_a_turn(
    tmp_path: Path, manager: Manager, start_node: StartNode
) -> None:
    config, port, api = tmp_path / "krakend.json", unused_port(), unused_port()
    endpoint = {"endpoint": "/a", "extra_config": {"cluster/limit": "public"}}
    config.write_text(json.dumps({"version": 3, "port": port, "endpoints": [endpoint]}))
    program = tmp_path / "krakend"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("krakend.py")} "$@"\n')
    program.chmod(0o755)
    manager.answer = lambda hello: replace(manager.welcome(hello), gives_turns=True)
    await start_node(
        f"seed: {manager.address}\napi: 127.0.0.1:{api}\ngateway: {{kind: krakend, program: {program},"
        f" config: {config}, min_interval: 0s, health: 'http://127.0.0.1:{port}/__health'}}\n"
    )
    await says(manager, lambda report: report.limits_version == 3 and report.config.ready)

    await manager.send(LimitsPush(version=4, limits={"public": Limit(50.0)}))
    asks = await says(manager, lambda report: report.config.restart_asked == 1)
    assert asks.config.ready
    await manager.send(LimitsPush(version=5, limits={"public": Limit(60.0)}))
    await asyncio.sleep(1.2)
    assert all(
        m.limits_version <= 3 and not m.config.changing for m in manager.heard if isinstance(m, Report)
    )

    await manager.send(MayRestart(number=1))
    out = await says(manager, lambda report: report.config.changing)
    assert not out.config.ready
    back = await says(manager, lambda report: report.config.restart_taken == 1)
    assert (back.limits_version, back.config.changing) == (5, False)
