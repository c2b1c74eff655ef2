"""Other gateways that tell of their traffic: HAProxy's log and counts, metrics in Prometheus' text format."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from hypothesis import given
from hypothesis import strategies as st

from node.gateways.adapter import Gateway
from node.gateways.errors import GatewayError
from node.gateways.haproxy import FORMAT
from node.gateways.haproxy import counts_in as haproxy_counts_in
from node.gateways.prometheus import counts_in
from node.latency import BUCKETS, bucket_of
from node.protocol import OTHER
from node.traffic import Counts, Traffic
from tests.node.test_adapters import eventually, opened, short, started, status

__all__ = ["short"]

# Counts of a gateway's own


def rows(traffic: Traffic) -> dict[str, tuple[int, int]]:
    return {row.name: (row.requests, row.errors) for row in traffic.rows}


def test_what_a_gateway_had_counted_before_is_none_of_its_agents_figures() -> None:
    traffic = Traffic()
    for requests in (100, 130, 131):
        traffic.take({("endpoint", "a"): Counts(requests, requests // 10)})
    assert rows(traffic) == {"a": (31, 3)}


def test_a_gateway_that_counts_anew_has_lost_nothing() -> None:
    traffic = Traffic()
    for a, b in ((5, 5), (8, 9), (1, 2), (2, 2)):
        traffic.take({("endpoint", "a"): Counts(a, 0), ("endpoint", "b"): Counts(b, 0)})
    assert rows(traffic) == {"a": (5, 0), "b": (6, 0)}


def test_a_name_that_was_not_counted_before_is_counted_from_its_start() -> None:
    traffic = Traffic()
    traffic.take({})
    traffic.take({("backend", "b"): Counts(4, 1, 0.4, {3: 4})})
    [row] = traffic.rows
    assert (row.requests, row.errors, row.seconds, row.buckets) == (4, 1, 0.4, (3, 4))


# Prometheus' text format

KRAKEND = """\
# HELP http_server_duration_seconds
# TYPE http_server_duration_seconds histogram
http_server_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",http_route="/u/{id}",le="0.01"} 7
http_server_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",http_route="/u/{id}",le="0.1"} 9
http_server_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",http_route="/u/{id}",le="+Inf"} 10
http_server_duration_seconds_sum{http_request_method="GET",http_response_status_code="200",http_route="/u/{id}"} 1.5
http_server_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/u/{id}"} 10
http_server_duration_seconds_bucket{http_request_method="GET",http_response_status_code="500",http_route="/u/{id}",le="0.01"} 2
http_server_duration_seconds_bucket{http_request_method="GET",http_response_status_code="500",http_route="/u/{id}",le="+Inf"} 2
http_server_duration_seconds_sum{http_request_method="GET",http_response_status_code="500",http_route="/u/{id}"} 0.01
http_server_duration_seconds_count{http_request_method="GET",http_response_status_code="500",http_route="/u/{id}"} 2
http_server_duration_seconds_bucket{http_request_method="GET",http_response_status_code="404",http_route="",le="+Inf"} 3
http_server_duration_seconds_sum{http_request_method="GET",http_response_status_code="404",http_route=""} 0.01
http_server_duration_seconds_count{http_request_method="GET",http_response_status_code="404",http_route=""} 3
# TYPE krakend_backend_duration histogram
krakend_backend_duration_bucket{error="false",server_address="http://10.0.0.1",http_route="/x",le="+Inf"} 4
krakend_backend_duration_sum{error="false",server_address="http://10.0.0.1",http_route="/x"} 0.4
krakend_backend_duration_count{error="false",server_address="http://10.0.0.1",http_route="/x"} 4
krakend_backend_duration_bucket{error="true",server_address="http://10.0.0.1",http_route="/x",le="+Inf"} 1
krakend_backend_duration_sum{error="true",server_address="http://10.0.0.1",http_route="/x"} 0.4
krakend_backend_duration_count{error="true",server_address="http://10.0.0.1",http_route="/x"} 1
# TYPE http_client_duration histogram
http_client_duration_bucket{server_address="http://10.0.0.1",le="+Inf"} 5
http_client_duration_sum{server_address="http://10.0.0.1"} 0.4
http_client_duration_count{server_address="http://10.0.0.1"} 5
# TYPE go_goroutines gauge
go_goroutines 9
"""  # noqa: E501


def test_krakends_metrics_tell_of_endpoints_and_of_each_backend_once() -> None:
    found = counts_in(KRAKEND)
    one = found["endpoint", "GET /u/{id}"]
    assert (one.requests, one.errors, one.seconds) == (12, 2, 1.51)
    assert one.buckets == {bucket_of(0.01): 9, bucket_of(0.1): 2, bucket_of(0.1) + 1: 1}
    assert found["endpoint", OTHER].requests == 3
    assert found["backend", "http://10.0.0.1"].requests == 5
    assert found["backend", "http://10.0.0.1"].errors == 1
    assert len(found) == 3


@pytest.mark.parametrize("text", ["<html>", "a{", '# TYPE x histogram\nx_bucket{le="1"} NaN_'])
def test_what_is_no_such_text_is_said(text: str) -> None:
    with pytest.raises(GatewayError, match="Prometheus"):
        counts_in(text)


@given(st.dictionaries(st.floats(0.0001, 1e4), st.integers(0, 50), max_size=8))
def test_no_answer_is_lost_between_buckets_of_other_bounds(counted: dict[float, int]) -> None:
    lines, below = ["# TYPE http_server_duration histogram"], 0
    for bound in sorted(counted):
        below += counted[bound]
        lines.append(f'http_server_duration_bucket{{http_route="/",le="{bound!r}"}} {below}')
    lines.append(f'http_server_duration_bucket{{http_route="/",le="+Inf"}} {below + 2}')
    lines.append(f'http_server_duration_count{{http_route="/"}} {below + 2}')
    [one] = counts_in("\n".join(lines) + "\n").values()
    assert sum(one.buckets.values()) == one.requests == below + 2
    assert all(0 <= bucket < BUCKETS for bucket in one.buckets)


@pytest.fixture
def shown() -> list[str]:
    return [KRAKEND]


@pytest.mark.parametrize("kind", ["command", "krakend"])
async def test_metrics_at_the_stats_url_are_read_whatever_the_kind(
    kind: str, tmp_path: Path, shown: list[str]
) -> None:
    async def metrics(request: web.Request) -> web.Response:
        return web.Response(text=shown[0])

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    (tmp_path / "krakend.json").write_text("{}")
    keys = {"run": ["true"]} if kind == "command" else {"config": str(tmp_path / "krakend.json")}
    async with TestServer(app) as server:
        gateway = opened(tmp_path, kind=kind, stats=str(server.make_url("/metrics")), **keys)
        assert (await gateway.stats())["gateway_requests"] == 0
        shown[0] = KRAKEND.replace("} 10\n", "} 14\n")
        assert await gateway.stats() == {"gateway_requests": 4.0, "gateway_errors": 0.0}
        assert [(row.name, row.requests) for row in gateway.served] == [("GET /u/{id}", 4)]
        shown[0] = "# " + "x" * 5_000_000
        with pytest.raises(GatewayError, match="more than 4194304 bytes"):
            await gateway.stats()


# HAProxy

CONFIG = """
global
  stats socket {folder}/admin.sock mode 600 level admin
  log {folder}/log.sock len 8192 format raw local0
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
  retries 0
frontend gateway
  bind 127.0.0.1:{port}
  log global
  log-format "{format}"
  http-request return status 200 if {{ path /health }}
  http-request return status 404 if {{ path_beg /wp- }}
  use_backend dead if {{ path_beg /dead }}
  default_backend alive
backend alive
  server one 127.0.0.1:{served}
backend dead
  server two 127.0.0.1:1
"""


async def a_gateway(folder: Path, served: int, **keys: str) -> tuple[Gateway, int]:
    port = unused_port()
    text = CONFIG.format(folder=folder, port=port, served=served, format=FORMAT)
    (folder / "haproxy.cfg").write_text(text)
    (folder / "limits.map").write_text("public 9\n")
    files = {"config": f"{folder}/haproxy.cfg", "limits": f"{folder}/limits.map"}
    health = f"http://127.0.0.1:{port}/health"
    socket = f"{folder}/admin.sock"
    return opened(folder, kind="haproxy", socket=socket, health=health, **files, **keys), port


@pytest.mark.needs("haproxy")
@pytest.mark.parametrize("logs", [True, False], ids=["by its log", "by its counts"])
async def test_haproxy_tells_of_endpoints_and_servers(short: Path, logs: bool) -> None:
    async def hello(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    async with TestServer(app) as server:
        assert server.port is not None
        keys = {"access_log": f"{short}/log.sock"} if logs else {}
        gateway, port = await a_gateway(short, server.port, **keys)
        async with started(gateway):
            await eventually(lambda: gateway.state == "running")
            await gateway.stats()
            paths = ("/users/7", "/users/8", "/dead", "/wp-admin")
            assert [await status(port, path) for path in paths] == [200, 200, 503, 404]
            found: dict[tuple[str, str], tuple[int, int]] = {}
            ends = time.monotonic() + 10
            while found.get(("backend", "alive/one")) != (2, 0) or found.get(("backend", "dead/two")) != (
                1,
                1,
            ):
                assert time.monotonic() < ends, found
                counters = await gateway.stats()
                found = {row.key: (row.requests, row.errors) for row in gateway.served}
                await asyncio.sleep(0.05)
            assert counters["gateway_errors"] == 1.0
            if not logs:
                assert found["endpoint", "gateway"][1] == 1
                return
            assert found["endpoint", "GET /users/*"] == (2, 0)
            assert ("endpoint", "GET /wp-admin") not in found
            [row] = [row for row in gateway.served if row.key == ("backend", "alive/one")]
            assert 0.1 <= row.seconds < 2.0
        assert not (short / "log.sock").exists()


@pytest.mark.needs("haproxy")
async def test_a_log_socket_that_cannot_be_made_keeps_no_gateway_from_running(
    short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateway, _ = await a_gateway(short, 1, access_log=f"{short}/none/log.sock")
    async with started(gateway):
        await eventually(lambda: gateway.state == "running")
    assert "No figures by endpoint and backend" in caplog.text


@given(st.text(max_size=300))
def test_any_answer_of_show_stat_is_read(shown: str) -> None:
    for text in (shown, "# pxname,svname,req_tot,hrsp_5xx,econ,eresp\n" + shown):
        with contextlib.suppress(GatewayError):
            haproxy_counts_in(text)
