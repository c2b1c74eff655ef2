"""KrakenD CE: limits are rendered into a copy of its configuration, which it reads only when it starts.

It has no reload: HUP would end it. A start refills every bucket, so new limits wait for `min_interval`.
`krakend check -t` opens the configured port, so a copy with a free one is checked.

An endpoint of the operator's file says which limits are its own, and KrakenD ignores what it does
not know: `"extra_config": {"cluster/limit": "public"}`, or a list of names.
"""

import asyncio
import contextlib
import copy
import json
import socket
from math import floor
from pathlib import Path
from typing import Any

from node.config import GatewaySettings
from node.gateways.adapter import Adapter, Applied, ask_program, fetch
from node.gateways.errors import GatewayError
from node.gateways.files import Files
from node.gateways.supervisor import Supervisor
from node.protocol import Limit, Limits

MARK = "cluster/limit"
ROUTER = "qos/ratelimit/router"


class KrakendGateway(Adapter):
    """`config` in `gateway` is the operator's file, `rendered` the one that KrakenD is started with."""

    def __init__(
        self, settings: GatewaySettings, supervisor: Supervisor, files: Files, rendered: Path
    ) -> None:
        super().__init__(settings, supervisor, files)
        self._program = settings.program or "krakend"
        self._rendered = rendered
        self._limits: Limits = {}
        self._unlimited = False
        """Whether it was started without any limit, for there was none yet."""
        self._restarted = -settings.min_interval

    async def start(self) -> None:
        if self._files.read(self._rendered) is None:
            with contextlib.suppress(GatewayError):  # KrakenD itself says what is wrong with it
                self._files.write(self._rendered, render(self._operators(), {}), like=self._config)
                self._unlimited = True
        await super().start()

    async def settle(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            wait = self._restarted + self._settings.min_interval - loop.time()
            await asyncio.wait_for(self._stopping.wait(), max(0.0, wait))

    def restarts_for(self, limits: Limits) -> bool:
        """Not where it has no limit yet: that is over as soon as can be."""
        if self._unlimited:
            return False
        try:
            return render(self._operators(), limits) != self._files.read(self._rendered)
        except GatewayError:
            return False  # nothing is put into force

    async def prepare(self, limits: Limits) -> None:
        self._limits = limits

    async def apply_limits(self, limits: Limits) -> Applied:
        rendered = render(self._operators(), limits)
        self._limits = limits
        if rendered == self._files.read(self._rendered):
            return "live"
        await self._check_copy(rendered)
        self._unlimited = False
        return await self._replace(self._rendered, rendered)

    async def apply_configuration(self, configuration: bytes) -> Applied:
        await self.validate(configuration)
        before = self._operators()
        self._files.write(self._config, configuration)
        try:
            return await self._replace(self._rendered, render(configuration, self._limits))
        except GatewayError:
            self._files.write(self._config, before)
            raise

    async def validate(self, configuration: bytes) -> None:
        await self._check_copy(render(configuration, self._limits))

    async def restart(self) -> None:
        try:
            await super().restart()
        finally:
            self._restarted = asyncio.get_running_loop().time()

    async def stats(self) -> dict[str, float]:
        """Of its metrics; or of `/__stats`, gathered once a minute: requests by what the router answered."""
        if not self._settings.stats:
            return {}
        body = await fetch(self._settings.stats)
        if not body.lstrip().startswith(b"{"):
            return await self._take_metrics(body)
        try:
            counters = json.loads(body)["Counters"]
            # krakend.router.response./path.status.200.count
            answered = {
                name.rsplit(".", 2)[1]: 0.0
                for name in counters
                if ".status." in name and name.endswith(".count")
            }
            for name, number in counters.items():
                if (
                    ".status." in name
                    and name.endswith(".count")
                    and name.startswith("krakend.router.response.")
                ):
                    answered[name.rsplit(".", 2)[1]] += float(number)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise GatewayError(f"{self._settings.stats} is not KrakenD's /__stats: {error!r}") from None
        failed = sum(count for status, count in answered.items() if status.startswith("5"))
        return {"gateway_requests": sum(answered.values()), "gateway_errors": failed}

    async def _into_force(self) -> Applied:
        drained = self.draining
        if not drained:
            await self.drain()
        try:
            await self._supervisor.restart()
        finally:
            self.draining = drained
            self._restarted = asyncio.get_running_loop().time()
        return "restarted"

    async def _check_copy(self, rendered: bytes) -> None:
        checked = self._rendered.with_name(f".{self._rendered.name}.check.json")
        parsed = json.loads(rendered)
        parsed["port"] = _free_port()
        self._files.write(checked, json.dumps(parsed).encode(), like=self._config)
        try:
            await ask_program((self._program, "check", "-tn", "-c", str(checked)))
        finally:
            self._files.write(checked, None)

    def _operators(self) -> bytes:
        content = self._files.read(self._config)
        if content is None:
            raise GatewayError(f"{self._config} does not exist: write KrakenD's configuration there")
        return content


def render(configuration: bytes, limits: Limits) -> bytes:
    """`configuration` with the rates of `limits` at every endpoint that names one; raises `GatewayError`."""
    try:
        parsed = json.loads(configuration)
        endpoints = parsed.get("endpoints", [])
        for endpoint in endpoints:
            _put(endpoint.get("extra_config", {}), limits)
    except (ValueError, AttributeError, TypeError) as error:
        raise GatewayError(f"KrakenD's configuration is not what it should be: {error}") from None
    return json.dumps(parsed, indent=2).encode() + b"\n"


def _put(extra: dict[str, Any], limits: Limits) -> None:
    """Let the endpoint whose `extra_config` this is have its share; an unknown limit changes nothing."""
    names = extra.get(MARK, [])
    known = [limits[name] for name in ([names] if isinstance(names, str) else names) if name in limits]
    if not known:
        return
    router = copy.deepcopy(extra.get(ROUTER, {}))
    for limit in known:
        # One token bucket for each; decimals are allowed, and the bucket holds what passes at once.
        router["every"] = _duration(limit.every)
        router["client_max_rate" if limit.per_client else "max_rate"] = limit.max_rate
        router["client_capacity" if limit.per_client else "capacity"] = max(1, floor(limit.max_rate))
        if limit.per_client:
            router.setdefault("strategy", "ip")
    if len({limit.every for limit in known}) > 1:
        shortest = min(known, key=lambda limit: limit.every).every
        router["every"] = _duration(shortest)
        for limit in known:
            router["client_max_rate" if limit.per_client else "max_rate"] = _in(limit, shortest)
    extra[ROUTER] = router


def _in(limit: Limit, seconds: float) -> float:
    """The rate of `limit` in a window of `seconds`, rounded down to a millionth."""
    return floor(limit.max_rate * seconds / limit.every * 1e6) / 1e6


def _duration(seconds: float) -> str:
    """As Go reads it, which knows no days."""
    return f"{seconds:.0f}s" if seconds == floor(seconds) else f"{max(1.0, seconds * 1000):.0f}ms"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
