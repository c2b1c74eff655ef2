"""What all adapters share: one supervisor, the files that are written, and the way back."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import aiohttp

from node.config import GatewaySettings
from node.gateways import health
from node.gateways.errors import GatewayError
from node.gateways.files import Files
from node.gateways.processes import Use
from node.gateways.prometheus import counts_in
from node.gateways.supervisor import Supervisor
from node.protocol import Limits, Served
from node.traffic import Traffic

_LOG = logging.getLogger(__name__)

Applied: TypeAlias = Literal["live", "reloaded", "restarted"]
"""What a change cost the gateway: nothing, new workers beside the old ones, or a graceful restart."""

GOOD_SECONDS = 10.0
"""How long a gateway must run well with changed files before these count as good."""
PROGRAM_SECONDS_MAX = 30.0
_BODY_BYTES_MAX = 4 * 1024 * 1024
PROOF_SECONDS = 1.0
"""How long a gateway must be healthy with a new configuration …"""
PROOF_SECONDS_MAX = 30.0
"""… which must begin within this."""


class Gateway(Protocol):
    """One gateway, as the agent deals with it. Methods that change something raise `GatewayError`."""

    @property
    def state(self) -> str:
        """`running` when it is up; else what is the matter, in a word."""

    @property
    def restarts(self) -> int:
        """Starts after a crash, since the agent started."""

    @property
    def draining(self) -> bool:
        """Whether it is about to be restarted and should get no traffic."""

    async def start(self) -> None:
        """Start it and keep it running; returns when it was stopped, by `stop` or by its operator."""

    def stop(self) -> None:
        """Begin to end it; called again, end it at once."""

    async def drain(self) -> None:
        """From now on `draining`, until the next restart is over; returns after the time for it."""

    async def prepare(self, limits: Limits) -> None:
        """Before the first start: have what a configuration needs to be there of `limits`.

        Raises `GatewayError`.
        """

    async def validate(self, configuration: bytes) -> None:
        """Whether the gateway would start with `configuration`; raises `GatewayError` with its own words."""

    async def apply_configuration(self, configuration: bytes) -> Applied:
        """Validate it, put it in place and into force; what was there is back after a `GatewayError`."""

    async def change(self, configuration: bytes) -> Applied:
        """Go out of service, `apply_configuration`, be healthy, come back; else what was there is back.

        `draining` until it is over, by a `GatewayError` too.
        """

    async def restart(self) -> None:
        """Go out of service, end it gracefully, start it anew, be healthy, come back.

        It goes on undisturbed where it would not start again; `draining` until it is over.
        """

    async def settle(self) -> None:
        """Wait until new limits may be applied again."""

    def restarts_for(self, limits: Limits) -> bool:
        """Whether letting `limits` hold takes the gateway out of service."""

    async def apply_limits(self, limits: Limits) -> Applied:
        """Let `limits` hold from now on; what held goes on after a `GatewayError`."""

    async def rollback(self) -> list[Path]:
        """Put the files back with which it last ran well, for its next start; gives those that differed."""

    async def health(self) -> bool:
        """Whether it answers its health URL, or runs where it has none."""

    async def stats(self) -> dict[str, float]:
        """Counters from the gateway's own statistics, by name; empty where it has none."""

    @property
    def served(self) -> tuple[Served, ...]:
        """By endpoint and by backend, as `stats` last found it; empty where the gateway does not tell."""

    def use(self) -> Use:
        """What its processes have used so far."""


class Adapter:
    """A `Gateway` but for what depends on its kind."""

    def __init__(self, settings: GatewaySettings, supervisor: Supervisor, files: Files) -> None:
        self.draining = False
        self._settings, self._supervisor, self._files = settings, supervisor, files
        self._config = Path(settings.config).absolute()
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._stopping = asyncio.Event()
        self._changed = 0.0
        self._traffic = Traffic()

    @property
    def state(self) -> str:
        return self._supervisor.state if self._may_start.is_set() else "waiting for its limits"

    @property
    def restarts(self) -> int:
        return self._supervisor.restarts

    def use(self) -> Use:
        return self._supervisor.use()

    async def start(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._may_start, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        keeping = asyncio.create_task(self._keep_what_is_good())
        try:
            await self._supervisor.run(self._crashes)
        finally:
            keeping.cancel()

    def stop(self) -> None:
        self._stopping.set()
        self._supervisor.stop()

    async def drain(self) -> None:
        self.draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._settings.drain)

    async def settle(self) -> None:
        return

    def restarts_for(self, limits: Limits) -> bool:
        return False

    async def rollback(self) -> list[Path]:
        return self._files.restore()

    async def health(self) -> bool:
        if not self._settings.health:
            return self.state == "running"
        timeout = aiohttp.ClientTimeout(total=health.EVERY_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            return await health.is_healthy(client, self._settings.health)

    async def stats(self) -> dict[str, float]:
        if not self._settings.stats:
            return {}
        return await self._take_metrics(await fetch(self._settings.stats))

    async def _take_metrics(self, body: bytes) -> dict[str, float]:
        """Of the gateway's metrics in Prometheus' text format."""
        try:
            # Thousands of lines take a while: the connection to the manager does not wait for them.
            self._traffic.take(await asyncio.to_thread(counts_in, body.decode(errors="replace")))
        except GatewayError as error:
            raise GatewayError(f"{self._settings.stats}: {error}") from None
        requests, errors = self._traffic.total("endpoint")
        return {"gateway_requests": float(requests), "gateway_errors": float(errors)}

    @property
    def served(self) -> tuple[Served, ...]:
        return self._traffic.rows

    async def prepare(self, limits: Limits) -> None:
        """Nothing, where no file is to be included."""

    async def validate(self, configuration: bytes) -> None:
        """By a copy beside the file, so that what it includes by relative names is found."""
        self._check_config()
        copy = self._config.with_name(f".{self._config.name}.check")
        self._files.write(copy, configuration, like=self._config)
        try:
            await self._check(copy)
        finally:
            self._files.write(copy, None)

    async def apply_configuration(self, configuration: bytes) -> Applied:
        await self.validate(configuration)
        return await self._replace(self._config, configuration)

    async def change(self, configuration: bytes) -> Applied:
        before = self._files.read(self._config)
        await self.drain()
        try:
            applied = await self.apply_configuration(configuration)
            try:
                await self._prove()
            except GatewayError as error:
                if before is not None:
                    await self._put_back(before, error)
                raise
        finally:
            self.draining = False
        return applied

    async def restart(self) -> None:
        if self._settings.supervise == "none" or self._settings.kind == "none":
            raise GatewayError("it is left alone (`supervise: none`): restart it yourself")
        if (content := self._files.read(self._config) if self._settings.config else None) is not None:
            await self.validate(content)
        await self.drain()
        try:
            await self._supervisor.restart()
            await self._prove()
        finally:
            self.draining = False

    async def _prove(self) -> None:
        """Wait until it has been healthy for a while: at first the old workers may answer still."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        ends = since + PROOF_SECONDS_MAX
        while loop.time() - since < PROOF_SECONDS:
            await asyncio.sleep(0.1)
            if not await self.health():
                since = loop.time()
            if since > ends or self._stopping.is_set():
                what = self._settings.health or f"it is {self.state}"
                raise GatewayError(f"the gateway is not healthy {PROOF_SECONDS_MAX:g} s after it ({what})")

    async def _put_back(self, configuration: bytes, reason: GatewayError) -> None:
        try:
            await self.apply_configuration(configuration)
        except GatewayError as error:
            raise GatewayError(f"{reason}; and what was there before cannot be put back: {error}") from None

    async def _replace(self, path: Path, content: bytes) -> Applied:
        """Put `content` in place and into force, or nothing."""
        before = self._files.read(path)
        self._files.write(path, content, like=self._config)
        try:
            applied = await self._into_force()
        except GatewayError:
            self._files.write(path, before)
            raise
        self._changed = asyncio.get_running_loop().time()
        return applied

    async def _into_force(self) -> Applied:
        """Let the gateway read its files again."""
        raise GatewayError(f"{self._settings.kind} cannot be told to read its files again")

    async def _check(self, config: Path) -> None:
        """Let the gateway's own program look at `config`; raises `GatewayError` with its words."""

    def _check_config(self) -> None:
        if not self._settings.config:
            raise GatewayError("there is no `gateway.config` to replace")

    async def _crashes(self, last_lines: str) -> None:
        """Put the good files back before the next start."""
        try:
            restored = await self.rollback()
        except GatewayError as error:
            _LOG.error("The gateway crashes again and again, and its files cannot be put back: %s", error)
            return
        what = ", ".join(map(str, restored))
        done = f"{what} put back as when it last ran well" if restored else "its files are as ever"
        _LOG.error("The gateway crashes again and again: %s. Its last lines: %s", done, last_lines or "none")

    async def _keep_what_is_good(self) -> None:
        loop = asyncio.get_running_loop()
        since, kept = loop.time(), -1.0
        while True:
            await asyncio.sleep(1.0)
            if self.state != "running":
                since, kept = loop.time(), -1.0
            begun = max(since, self._changed)
            if loop.time() - begun >= GOOD_SECONDS and kept != begun:
                try:
                    self._files.keep()
                    kept = begun
                except (GatewayError, OSError) as error:
                    _LOG.warning("The gateway's files are not kept as good ones: %s", error)


async def ask_program(command: Sequence[str]) -> str:
    """What `command` prints; raises `GatewayError` with its last lines where it fails."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise GatewayError(f"{command[0]} cannot be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(PROGRAM_SECONDS_MAX):
            printed, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise GatewayError(f"`{' '.join(command)}` has not ended within {PROGRAM_SECONDS_MAX:g} s") from None
    text = printed.decode(errors="replace")
    if process.returncode:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        raise GatewayError(f"`{' '.join(command)}` says: {' | '.join(lines[-3:]) or process.returncode}")
    return text


async def fetch(url: str) -> bytes:
    """The body at `url`; raises `GatewayError`."""
    timeout = aiohttp.ClientTimeout(total=health.EVERY_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as client, client.get(url) as response:
            if response.status == 200:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > _BODY_BYTES_MAX:
                        raise GatewayError(f"{url} answers with more than {_BODY_BYTES_MAX} bytes")
                return bytes(body)
            raise GatewayError(f"{url} answers {response.status}")
    except TimeoutError:
        raise GatewayError(f"{url} does not answer within {health.EVERY_SECONDS:g} s") from None
    except aiohttp.ClientConnectorError as error:
        # aiohttp's own words name TLS where there is none.
        why = error.os_error.strerror or error.os_error
        raise GatewayError(f"{url} does not answer: {why}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise GatewayError(f"{url} does not answer: {error}") from None
