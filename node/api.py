"""The agent's own small HTTP server: `/health`, `/ready`, `/metrics` and what it knows, under `/v1`."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.bundle import Bundle
from node.protocol import Limits
from node.provision import PATH
from node.settings import HostPort, SettingsError, format_duration


class Applied(Protocol):
    """The limits that the gateway works under."""

    @property
    def version(self) -> int: ...
    @property
    def how(self) -> str: ...
    @property
    def error(self) -> str: ...


class Status(Protocol):
    """What the server shows; read anew for each request."""

    @property
    def not_ready(self) -> str:
        """Why this gateway should get no traffic, empty if it may."""

    @property
    def joined(self) -> bool:
        """Whether a manager has us."""

    @property
    def registered(self) -> bool:
        """Whether this node counts itself as one of the cluster."""

    @property
    def degrades_in(self) -> float | None:
        """Seconds until, without a manager, the free limits hold; None for never."""

    @property
    def counters(self) -> dict[str, float]:
        """What is reported to the manager."""

    @property
    def limits(self) -> tuple[int, str, Limits]:
        """Version, source and limits in force."""

    @property
    def applied(self) -> Applied:
        """What of them the gateway works under."""

    @property
    def node(self) -> dict[str, object]:
        """This node."""

    @property
    def config(self) -> dict[str, object]:
        """The gateway's configuration file."""

    def bundle_for(self, authorization: str, remote: str) -> tuple[Bundle | None, str]:
        """What a new node may start from, or why whoever asks is told nothing."""


def limits_shown(limits: Limits) -> dict[str, dict[str, object]]:
    """As in the limits file and `/v1/limits`."""
    return {
        name: {"max_rate": limit.max_rate, "every": format_duration(limit.every)}
        for name, limit in limits.items()
    }


def create_app(status: Status) -> web.Application:
    """The server's handlers over `status`."""
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status))

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(request: web.Request) -> web.Response:
        reason = status.not_ready
        return web.json_response({"ready": not reason, "reason": reason}, status=503 if reason else 200)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def node(request: web.Request) -> web.Response:
        return web.json_response(status.node)

    async def limits(request: web.Request) -> web.Response:
        version, source, limits = status.limits
        applied = status.applied
        return web.json_response(
            {
                "version": version,
                "source": source,
                "limits": limits_shown(limits),
                "applied": {"version": applied.version, "how": applied.how, "error": applied.error},
            }
        )

    async def config(request: web.Request) -> web.Response:
        return web.json_response(status.config)

    async def bundle(request: web.Request) -> web.Response:
        found, why = status.bundle_for(request.headers.get("Authorization", ""), request.remote or "")
        return web.Response(status=403, text=why) if found is None else web.json_response(found.fields())

    app = web.Application()
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/ready", ready),
            web.get("/metrics", metrics),
            web.get("/v1/node", node),
            web.get("/v1/limits", limits),
            web.get("/v1/config", config),
            web.get(PATH, bundle),
        ]
    )
    return app


@asynccontextmanager
async def serve(address: str, status: Status) -> AsyncIterator[None]:
    """Serve on `address` (`host:port`); raises `SettingsError` where that cannot be had."""
    where = HostPort.parse(address)
    runner = web.AppRunner(create_app(status), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, where.host, where.port).start()
        except OSError as error:
            # asyncio's own text repeats the address; a name that does not resolve has no errno of the system
            why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else error
            raise SettingsError(
                f'`api` cannot listen on {where} ({why}): put another address, or `api: ""` for none'
            ) from None
        yield
    finally:
        await runner.cleanup()


class _StatusCollector(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield GaugeMetricFamily("kcm_node_joined", "Whether a manager has this node", float(status.joined))
        yield GaugeMetricFamily(
            "kcm_node_registered",
            "Whether this node counts itself as one of the cluster",
            float(status.registered),
        )
        if (seconds := status.degrades_in) is not None:
            text = "Until, without a manager, the free limits hold"
            yield GaugeMetricFamily("kcm_node_degrades_in_seconds", text, seconds)
        yield GaugeMetricFamily(
            "kcm_node_ready", "Whether the gateway may get traffic", float(not status.not_ready)
        )
        for name, value in status.counters.items():
            rises_and_falls = name.endswith(("_bytes", "_uptime_seconds"))
            family = GaugeMetricFamily if rises_and_falls else CounterMetricFamily
            yield family(f"kcm_node_{name}", "As reported to the manager", value)
        version, source, limits = status.limits
        yield GaugeMetricFamily("kcm_node_limits_version", "Of the limits in force", float(version))
        yield GaugeMetricFamily(
            "kcm_node_limits_applied_version",
            "Of those that the gateway works under",
            float(status.applied.version),
        )
        rates = GaugeMetricFamily(
            "kcm_node_limit_per_second", "Requests per second let through", labels=["limit", "source"]
        )
        for name, limit in limits.items():
            rates.add_metric([name, source], limit.max_rate / limit.every if limit.every else limit.max_rate)
        yield rates
