"""HAProxy: limits are numbers in a map, changed live over the runtime socket.

What the socket changes is lost at the next reload, so the map's file is written first. `reload` on the
master socket of 2.6 answers nothing; `failed:` in `show proc` tells, and the old worker goes on then.
"""

import asyncio
import csv
import re
from math import floor
from pathlib import Path

from node.config import GatewaySettings
from node.gateways.adapter import Adapter, Applied, ask_program
from node.gateways.errors import GatewayError
from node.gateways.files import Files
from node.gateways.logsocket import LogSocket
from node.gateways.supervisor import Supervisor
from node.protocol import Limit, Limits, ServedKind
from node.traffic import Counts, endpoint_of

_ANSWER_SECONDS_MAX = 5.0
_LISTEN_SECONDS_MAX = 10.0
_RELOAD_SECONDS_MAX = 30.0
_ANSWER_BYTES_MAX = 1024 * 1024
FORMAT = "%ST %Ta %Tr %b/%s %HM %HPO"
"""Of the `log-format` that is read at `access_log`; the last two name the endpoint."""
_ANSWERS = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,100}")


class HaproxyGateway(Adapter):
    """`limits` in `gateway` is the map's file, `socket` the runtime socket."""

    def __init__(
        self, settings: GatewaySettings, supervisor: Supervisor, files: Files, master_socket: Path | None
    ) -> None:
        """`master_socket` is that of the process we start ourselves."""
        super().__init__(settings, supervisor, files)
        self._program = settings.program or "haproxy"
        self._limits = Path(settings.limits)
        self._socket = Path(settings.socket)
        self._master_socket = master_socket
        self._log = LogSocket(Path(settings.access_log), self._take) if settings.access_log else None
        if not self._limits.exists():
            self._may_start.clear()  # its configuration names a map that is not there yet

    async def start(self) -> None:
        if self._log is not None:
            self._log.open()
        try:
            await super().start()
        finally:
            if self._log is not None:
                self._log.close()

    async def prepare(self, limits: Limits) -> None:
        if self._files.read(self._limits) is None:
            self._write_map(limits)

    async def apply_limits(self, limits: Limits) -> Applied:
        numbers = self._write_map(limits)
        self._changed = asyncio.get_running_loop().time()
        self._may_start.set()
        if self._supervisor.pid is not None:
            await self._until_it_listens()
        if self._socket.exists():
            await self._set_map(numbers)
        return "live"

    def _write_map(self, limits: Limits) -> dict[str, int]:
        numbers = {name: requests(limit) for name, limit in limits.items()}
        for name in numbers:
            if not _NAME.fullmatch(name):
                raise GatewayError(
                    f"limit {name!r}: a key of HAProxy's map has only letters, digits, `_./:-`"
                )
        lines = [f"{name} {number}\n" for name, number in sorted(numbers.items())]
        self._files.write(self._limits, "".join(lines).encode())
        return numbers

    async def _until_it_listens(self) -> None:
        """One that has just been started may have read the map before it was written, and not be here yet."""
        ends = asyncio.get_running_loop().time() + _LISTEN_SECONDS_MAX
        while not self._socket.exists():
            if asyncio.get_running_loop().time() > ends:
                raise GatewayError(
                    f"HAProxy has no runtime socket {self._socket}: "
                    f"put `stats socket {self._socket} level admin` into its `global`"
                )
            await asyncio.sleep(0.05)

    async def stats(self) -> dict[str, float]:
        """Of `show info`: every request, also those that a limit stopped; counted anew after a reload.

        Without a log, its own counts by frontend and by server, which have no times.
        """
        if not self._socket.exists():
            return {}
        info = await ask_socket(self._settings.socket, "show info")
        if self._log is None:
            self._traffic.take(counts_in(await ask_socket(self._settings.socket, "show stat")))
        errors = self._traffic.total("endpoint")[1]
        found = re.search(r"^CumReq: (\d+)$", info, re.MULTILINE)
        return {"gateway_requests": float(found[1]), "gateway_errors": float(errors)} if found else {}

    def _take(self, line: bytes) -> None:
        """One line of its log, in `FORMAT`; any other is ignored."""
        parts = line.decode(errors="replace").split(" ", 4)
        try:
            status, active, response, server, asked = parts
            code, took, waited = int(status), int(active), int(response)
        except ValueError:
            return
        failed = code >= 500
        new = failed or 0 < code < 400  # who asks for what does not exist names no endpoints of ours
        self._traffic.count("endpoint", endpoint_of(asked), failed=failed, seconds=_seconds(took), new=new)
        if not server.endswith(("/<NOSRV>", "/<STATS>")):
            self._traffic.count("backend", server, failed=failed, seconds=_seconds(waited))

    async def _check(self, config: Path) -> None:
        await ask_program((self._program, "-c", "-f", str(config)))

    async def _set_map(self, numbers: dict[str, int]) -> None:
        socket, map_file = self._settings.socket, self._settings.limits
        shown = await ask_socket(socket, f"show map {map_file}")
        if "Unknown map" in shown:
            raise GatewayError(
                f"HAProxy has no map {map_file}: use it in its configuration by this very name"
            )
        there = dict(line.split()[1:3] for line in shown.splitlines() if len(line.split()) == 3)
        commands = [
            f"{'set' if name in there else 'add'} map {map_file} {name} {number}"
            for name, number in sorted(numbers.items())
            if there.get(name) != str(number)
        ]
        commands += [f"del map {map_file} {name}" for name in sorted(set(there) - set(numbers))]
        for command in commands:
            if answer := (await ask_socket(socket, command)).strip():
                raise GatewayError(f"HAProxy answers `{command}` with: {answer}")

    async def _into_force(self) -> Applied:
        await self._check(self._config)
        if self._supervisor.pid is None:
            return "reloaded"  # it reads the files when it starts
        if self._master_socket is None:
            if not self._settings.unit:
                raise GatewayError("it is left alone (`supervise: none`): reload it yourself")
            await ask_program(("systemctl", "reload", self._settings.unit))
            return "reloaded"
        reloads, failed = await self._reloads()
        await ask_socket(str(self._master_socket), "reload")
        ends = asyncio.get_running_loop().time() + _RELOAD_SECONDS_MAX
        while (now := await self._reloads())[0] in (-1, reloads):
            if asyncio.get_running_loop().time() > ends:
                raise GatewayError("HAProxy has not reloaded")
            await asyncio.sleep(0.05)
        if now[1] > failed:
            raise GatewayError("HAProxy has not taken the new files, and goes on with the old ones")
        return "reloaded"

    async def _reloads(self) -> tuple[int, int]:
        """How often it was asked to, and how often it failed since the last that did not."""
        try:
            shown = await ask_socket(str(self._master_socket), "show proc")
        except GatewayError:
            return -1, 0  # between two processes nobody listens
        match = re.search(r"master\s+(\d+) \[failed: (\d+)\]", shown)
        return (int(match[1]), int(match[2])) if match else (-1, 0)


def counts_in(shown: str) -> dict[tuple[ServedKind, str], Counts]:
    """What `show stat` counts by frontend, as an endpoint, and by server, as a backend."""
    found: dict[tuple[ServedKind, str], Counts] = {}
    try:
        rows = list(csv.DictReader(shown.removeprefix("# ").splitlines()))
    except csv.Error as error:
        raise GatewayError(f"HAProxy's `show stat` is not CSV: {error}") from None
    for row in rows:
        try:
            if row["svname"] == "FRONTEND" and row["req_tot"]:
                found["endpoint", row["pxname"]] = Counts(int(row["req_tot"]), int(row["hrsp_5xx"]))
            elif row["svname"] not in ("FRONTEND", "BACKEND") and row["hrsp_5xx"]:
                failed = int(row["hrsp_5xx"]) + int(row["econ"] or 0) + int(row["eresp"] or 0)
                answered = sum(int(row[f"hrsp_{kind}"] or 0) for kind in _ANSWERS)
                unanswered = failed - int(row["hrsp_5xx"])
                found["backend", f"{row['pxname']}/{row['svname']}"] = Counts(answered + unanswered, failed)
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _seconds(milliseconds: int) -> float | None:
    """HAProxy writes -1 for what did not come to be."""
    return milliseconds / 1000 if 0 <= milliseconds < 10**9 else None


def requests(limit: Limit) -> int:
    """Of one window, whole; a share that was widened counts one: the map has no room for a window."""
    return max(1, floor(limit.max_rate))


async def ask_socket(path: str, command: str) -> str:
    """The answer on one of HAProxy's sockets to `command`; raises `GatewayError`."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS_MAX):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(f"{command}\n".encode())
                writer.write_eof()
                answer = await reader.read(_ANSWER_BYTES_MAX)
                while not reader.at_eof() and len(answer) < _ANSWER_BYTES_MAX:
                    answer += await reader.read(_ANSWER_BYTES_MAX)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise GatewayError(f"{path} does not answer `{command}`: {error or 'too late'}") from None
    return answer.decode(errors="replace")
