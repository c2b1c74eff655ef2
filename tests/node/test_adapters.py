"""Each kind of gateway behind its adapter: real nginx and HAProxy, and the stand-in for KrakenD."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import unused_port

from node.config import GatewaySettings
from node.gateways import adapter, open_gateway
from node.gateways.accesslog import FORMAT
from node.gateways.adapter import Gateway
from node.gateways.errors import GatewayError
from node.gateways.haproxy import ask_socket
from node.gateways.krakend import render as render_krakend
from node.gateways.nginx import rate
from node.gateways.nginx import render as render_nginx
from node.gateways.processes import children_of
from node.protocol import Limit, Limits

HUNDRED: Limits = {"public": Limit(100.0)}
TEN: Limits = {"public": Limit(10.0)}


async def eventually(condition: Callable[[], object], within: float = 15.0) -> None:
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.02)


async def status(port: int, path: str = "/") -> int:
    """What the gateway answers; 0 where nobody does."""

    def ask() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    return await asyncio.to_thread(ask)


@asynccontextmanager
async def started(gateway: Gateway) -> AsyncIterator[Gateway]:
    """It is supervised meanwhile, and ended afterwards."""
    task = asyncio.create_task(gateway.start())
    try:
        yield gateway
    finally:
        gateway.stop()
        gateway.stop()
        await asyncio.wait_for(task, 15)


def opened(tmp_path: Path, **keys: Any) -> Gateway:
    environ = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    return open_gateway(GatewaySettings(**keys), environ, lambda process: None, tmp_path / "agent")


# nginx

NGINX = """
error_log {folder}/error.log; pid {folder}/nginx.pid; worker_processes 1;
events {{ worker_connections 64; }}
http {{
    log_format kcm '{log_format}';
    access_log {folder}/access.log kcm;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    include limits.conf;
    server {{
        listen 127.0.0.1:{port};
        location = /status {{ stub_status; }}
        location / {{ limit_req zone=public; limit_req_status 429; root {folder}/www; }}
        location /files/ {{ alias {folder}/www/; }}
        location /api/ {{ proxy_pass http://127.0.0.1:{port}/files/; }}
        location /gone/ {{ proxy_pass http://127.0.0.1:1; }}
    }}
}}
"""


def nginx(tmp_path: Path) -> tuple[Gateway, int]:
    port = unused_port()
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "index.html").write_text("hello")
    tmp_path.chmod(0o755)
    (tmp_path / "nginx.conf").write_text(
        "user root;" + NGINX.format(folder=tmp_path, port=port, log_format=FORMAT)
    )
    url = f"http://127.0.0.1:{port}/status"
    keys = {"config": str(tmp_path / "nginx.conf"), "limits": str(tmp_path / "limits.conf")}
    keys["access_log"] = str(tmp_path / "access.log")
    return opened(tmp_path, kind="nginx", health=url, stats=url, **keys), port


@pytest.mark.needs("nginx", "root")
async def test_nginx_waits_for_its_first_limits_and_takes_later_ones_by_a_reload(tmp_path: Path) -> None:
    gateway, port = nginx(tmp_path)
    async with started(gateway):
        assert gateway.state == "waiting for its limits"
        assert await gateway.apply_limits({"public": Limit(1.0, 60.0)}) == "reloaded"
        await eventually(lambda: gateway.state == "running")
        assert [await status(port) for _ in range(3)] == [200, 429, 429]
        assert await gateway.apply_limits({"public": Limit(2.0, 60.0)}) == "reloaded"
        assert await status(port) == 429, "the zone has kept what it counted"
        assert b"rate=2r/m" in (tmp_path / "limits.conf").read_bytes()
        assert (await gateway.stats())["gateway_requests"] > 4
        assert await gateway.health()


@pytest.mark.needs("nginx", "root")
async def test_nginx_tells_by_its_log_what_it_answered_at_which_endpoint_by_which_backend(
    tmp_path: Path,
) -> None:
    gateway, port = nginx(tmp_path)
    async with started(gateway):
        await gateway.apply_limits(HUNDRED)
        await eventually(lambda: gateway.state == "running")
        await gateway.stats()
        asked = [
            await status(port, path) for path in ("/api/index.html", "/gone/17", "/gone/18", "/api/none")
        ]
        assert asked == [200, 502, 502, 404]
        counters = await gateway.stats()
        rows = {row.key: row for row in gateway.served}
        assert counters["gateway_errors"] == rows["endpoint", "GET /gone/*"].errors == 2
        assert rows["endpoint", "GET /api/index.html"].requests == 1
        assert rows["backend", f"127.0.0.1:{port}"].errors == 0
        assert rows["backend", "127.0.0.1:1"].errors == 2
        assert "none" not in str(rows)


@pytest.mark.needs("nginx", "root")
async def test_limits_that_nginx_does_not_take_change_nothing(tmp_path: Path) -> None:
    gateway, port = nginx(tmp_path)
    await gateway.apply_limits(HUNDRED)
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
        before = (tmp_path / "limits.conf").read_bytes()
        with pytest.raises(GatewayError, match="zero size shared memory zone"):
            await gateway.apply_limits({"other": Limit(100.0)})
        assert (tmp_path / "limits.conf").read_bytes() == before
        assert await status(port) == 200


@pytest.mark.needs("nginx", "root")
async def test_a_configuration_that_passes_the_check_and_fails_the_reload_is_seen_and_undone(
    tmp_path: Path,
) -> None:
    gateway, port = nginx(tmp_path)
    await gateway.apply_limits(HUNDRED)
    config = (tmp_path / "nginx.conf").read_bytes()
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
        # `nginx -t` knows nothing of the running zone, whose key the HUP then refuses to change.
        (tmp_path / "limits.conf").write_text("limit_req_zone $uri zone=public:32k rate=1r/s;\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("node.gateways.nginx._RELOAD_SECONDS_MAX", 2.0)
            with pytest.raises(GatewayError, match="has not taken the new files"):
                await gateway.apply_configuration(config + b"# another\n")
        assert (tmp_path / "nginx.conf").read_bytes() == config
        assert await status(port) == 200
        with pytest.raises(GatewayError, match="unknown directive"):
            await gateway.apply_configuration(b"bogus;")
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_nginx_rates_are_the_finer_of_seconds_and_minutes_and_never_above_the_share() -> None:
    assert rate(Limit(100.0)) == "100r/s"
    assert rate(Limit(100.0 / 3)) == "2000r/m"
    assert rate(Limit(1.0, 30.0)) == "2r/m"
    assert rate(Limit(1.0, 3600.0)) == "1r/m"
    text = render_nginx({"a": Limit(5.0, 1.0, per_client=True)}).decode()
    assert "limit_req_zone $binary_remote_addr zone=a:10m rate=5r/s;" in text
    with pytest.raises(GatewayError, match="nginx has no zone of that name"):
        render_nginx({"a b": Limit(5.0)})


# HAProxy

HAPROXY = """
global
  stats socket {folder}/admin.sock mode 600 level admin
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
frontend gateway
  bind 127.0.0.1:{port}
  http-request return status 200 if {{ path /health }}
  stick-table type string len 64 size 64 expire 1h store gpc0,gpc0_rate(60s)
  http-request track-sc0 str(public)
  http-request set-var(txn.limit) str(public),map_str_int({folder}/limits.map,0)
  http-request deny status 429 if {{ sc0_gpc0_rate,sub(txn.limit) ge 0 }}
  http-request sc-inc-gpc0(0)
  http-request return status 200
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose sockets HAProxy takes: it knows no path of more than 97 characters."""
    with tempfile.TemporaryDirectory(prefix="kcm", dir="/tmp") as folder:
        yield Path(folder)


def haproxy(tmp_path: Path) -> tuple[Gateway, int]:
    port = unused_port()
    (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(folder=tmp_path, port=port))
    keys = {"config": f"{tmp_path}/haproxy.cfg", "limits": f"{tmp_path}/limits.map"}
    health = f"http://127.0.0.1:{port}/health"
    return opened(tmp_path, kind="haproxy", socket=f"{tmp_path}/admin.sock", health=health, **keys), port


def workers(gateway: Any) -> set[int]:
    return children_of(gateway._supervisor.pid)


@pytest.mark.needs("haproxy")
async def test_haproxy_takes_limits_live_and_finds_them_again_after_a_reload(short: Path) -> None:
    tmp_path = short
    gateway, port = haproxy(tmp_path)
    async with started(gateway):
        assert gateway.state == "waiting for its limits"
        assert await gateway.apply_limits({"public": Limit(2.0, 60.0), "gone": Limit(1.0)}) == "live"
        await eventually(lambda: gateway.state == "running")
        assert [await status(port) for _ in range(3)] == [200, 200, 429]
        before = workers(gateway)
        assert await gateway.apply_limits({"public": Limit(4.0, 60.0), "new": Limit(7.9)}) == "live"
        assert [await status(port) for _ in range(3)] == [200, 200, 429]
        assert workers(gateway) == before, "not one reload"
        shown = await ask_socket(f"{tmp_path}/admin.sock", f"show map {tmp_path}/limits.map")
        assert sorted(line.split()[1:] for line in shown.splitlines() if line) == [
            ["new", "7"],
            ["public", "4"],
        ]
        assert (await gateway.stats())["gateway_requests"] > 6

        assert (
            await gateway.apply_configuration((tmp_path / "haproxy.cfg").read_bytes() + b"# x\n")
            == "reloaded"
        )
        assert workers(gateway) != before
        shown = await ask_socket(f"{tmp_path}/admin.sock", f"show map {tmp_path}/limits.map")
        assert "public 4" in shown


@pytest.mark.needs("haproxy")
async def test_a_reload_that_haproxy_fails_is_seen_and_undone(short: Path) -> None:
    tmp_path = short
    gateway, port = haproxy(tmp_path)
    await gateway.apply_limits(HUNDRED)
    config = (tmp_path / "haproxy.cfg").read_bytes()
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
        with pytest.raises(GatewayError, match="unknown keyword 'bogus'"):
            await gateway.apply_configuration(config + b"  bogus\n")
        # A check binds no port: only the reload finds out that this one is not to be had.
        with pytest.raises(GatewayError, match="goes on with the old ones"):
            await gateway.apply_configuration(config.replace(b"127.0.0.1:", b"192.0.2.1:"))
        assert (tmp_path / "haproxy.cfg").read_bytes() == config
        assert await status(port) == 200


# KrakenD, by its stand-in


def krakend(tmp_path: Path, **keys: Any) -> tuple[Gateway, int]:
    port = unused_port()
    program = tmp_path / "krakend"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("krakend.py")} "$@"\n')
    program.chmod(0o755)
    endpoint = {"endpoint": "/a", "extra_config": {"cluster/limit": "public"}}
    config = {"version": 3, "port": port, "endpoints": [endpoint, {"endpoint": "/slow", "takes": 0.5}]}
    config["stats_age"] = 0.0
    (tmp_path / "krakend.json").write_text(json.dumps(config))
    url = f"http://127.0.0.1:{port}"
    given = {"program": str(program), "config": f"{tmp_path}/krakend.json", "min_interval": 0.0, **keys}
    return opened(tmp_path, kind="krakend", health=f"{url}/__health", stats=f"{url}/__stats", **given), port


async def test_krakend_takes_limits_by_a_graceful_restart_after_its_check(tmp_path: Path) -> None:
    gateway, port = krakend(tmp_path)
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
        assert [await status(port, "/a") for _ in range(3)] == [200] * 3
        slow = asyncio.create_task(status(port, "/slow"))
        await asyncio.sleep(0.2)
        assert await gateway.apply_limits({"public": Limit(2.0, 60.0)}) == "restarted"
        assert await slow == 200
        assert [await status(port, "/a") for _ in range(3)] == [200, 200, 503]
        assert (await gateway.stats()) == {"gateway_requests": 3.0, "gateway_errors": 1.0}
        pid = gateway._supervisor.pid  # type: ignore[attr-defined]
        assert await gateway.apply_limits({"public": Limit(2.0, 60.0), "unused": Limit(5.0)}) == "live"
        assert gateway._supervisor.pid == pid  # type: ignore[attr-defined]
        assert gateway.restarts == 0


async def test_krakend_is_out_of_rotation_while_it_drains(tmp_path: Path) -> None:
    gateway, _ = krakend(tmp_path, drain=0.3)
    (tmp_path / "krakend.json").chmod(0o600)
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
        change = asyncio.create_task(gateway.apply_limits(TEN))
        await eventually(lambda: gateway.draining)
        assert gateway.state == "running"
        assert await change == "restarted"
        assert not gateway.draining
    rendered = tmp_path / "agent" / "krakend.json"
    assert rendered.stat().st_mode & 0o777 == 0o600, "as secret as the operator's file"


async def test_new_limits_wait_for_krakends_shortest_interval(tmp_path: Path) -> None:
    gateway, _ = krakend(tmp_path, min_interval=0.5)
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
        await gateway.apply_limits(TEN)
        begin = time.monotonic()
        await gateway.settle()
        assert time.monotonic() - begin > 0.2


async def test_a_configuration_that_krakend_refuses_is_not_put_in_place(tmp_path: Path) -> None:
    gateway, port = krakend(tmp_path)
    before = (tmp_path / "krakend.json").read_bytes()
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
        for broken in (b"{", json.dumps({"version": 2, "port": port}).encode()):
            with pytest.raises(GatewayError):
                await gateway.apply_configuration(broken)
        assert (tmp_path / "krakend.json").read_bytes() == before
        assert await status(port, "/a") == 200


async def test_a_crash_loop_puts_the_good_files_back_and_says_the_last_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "GOOD_SECONDS", 0.5)
    monkeypatch.setattr("node.gateways.child.full_jitter", lambda *_, **__: 0.1)
    gateway, port = krakend(tmp_path)
    good = (tmp_path / "krakend.json").read_bytes()
    rendered = tmp_path / "agent" / "krakend.json"
    async with started(gateway):
        await eventually(lambda: len(list((tmp_path / "agent").glob("good/*"))) == 2)
        bad = json.dumps({**json.loads(good), "crashes": "something is on fire"}).encode()
        with pytest.raises(GatewayError, match="panic: something is on fire"):
            await gateway.apply_configuration(bad)
        assert (tmp_path / "krakend.json").read_bytes() == good
        assert json.loads(rendered.read_bytes()) == json.loads(good)
        await eventually(lambda: gateway.state == "running")

        # Now by hand, past every check.
        rendered.write_bytes(bad)
        os.kill(gateway._supervisor.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        await eventually(lambda: "put back as when it last ran well" in caplog.text)
        assert "| panic: something is on fire" in caplog.text
        await eventually(lambda: gateway.state == "running")
        assert await status(port, "/a") == 200
        assert rendered.with_name("krakend.json.failed").read_bytes() == bad


def test_rendering_puts_shares_only_where_they_are_asked_for() -> None:
    endpoints = [
        {
            "endpoint": "/a",
            "extra_config": {"cluster/limit": ["public", "each"], "qos/ratelimit/router": {"key": "k"}},
        },
        {"endpoint": "/b", "extra_config": {"cluster/limit": "unknown"}},
        {"endpoint": "/c"},
    ]
    limits = {"public": Limit(12.5, 1.0), "each": Limit(1.0, 2.0, per_client=True)}
    rendered = json.loads(render_krakend(json.dumps({"version": 3, "endpoints": endpoints}).encode(), limits))
    assert rendered["endpoints"][0]["extra_config"]["qos/ratelimit/router"] == {
        "key": "k",
        "every": "1s",
        "max_rate": 12.5,
        "capacity": 12,
        "client_max_rate": 0.5,
        "client_capacity": 1,
        "strategy": "ip",
    }
    assert rendered["endpoints"][1:] == endpoints[1:]


# systemd, by a stand-in for systemctl

SYSTEMCTL = """#!/bin/sh
echo "$@" >> {folder}/asked
case $1 in
  show) cat {folder}/shown;;
  start|restart) printf 'ActiveState=active\\nMainPID=1\\nNRestarts=0\\n' > {folder}/shown;;
esac
"""


async def test_a_unit_is_started_watched_and_stopped_by_systemctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(folder=tmp_path))
    program.chmod(0o755)
    shutil.copy(program, tmp_path / "journalctl")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "shown").write_text("ActiveState=inactive\n")
    keys = {"kind": "haproxy", "supervise": "systemd", "unit": "haproxy.service", "socket": f"{tmp_path}/s"}
    (tmp_path / "map").write_text("")
    gateway = opened(tmp_path, config=f"{tmp_path}/c", limits=f"{tmp_path}/map", **keys)
    task = asyncio.create_task(gateway.start())
    await eventually(lambda: gateway.state == "running")
    (tmp_path / "shown").write_text("ActiveState=failed\nMainPID=0\nNRestarts=5\n")
    await eventually(
        lambda: "reset-failed haproxy.service\nstart haproxy.service" in (tmp_path / "asked").read_text()
    )
    await eventually(lambda: gateway.state == "running")
    gateway.stop()
    await asyncio.wait_for(task, 10)
    assert (tmp_path / "asked").read_text().endswith("stop haproxy.service\n")
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "c").unlink()
