"""nginx's access log, in the format that docs/GATEWAYS.md gives, as counts by endpoint and by backend."""

import asyncio
from pathlib import Path

from node.gateways.errors import GatewayError
from node.gateways.tail import Tail
from node.traffic import Traffic, endpoint_of

FORMAT = (
    r"$status\t$request_time\t$upstream_addr\t$upstream_status\t$upstream_response_time\t$request_method $uri"
)
"""Of `log_format`; whatever is last may be any name for the endpoint."""

_SECONDS_MAX = 1e6


class AccessLog:
    """Counts what is added to the file at `path` from now on."""

    def __init__(self, path: Path, traffic: Traffic) -> None:
        self._path = path
        self._tail = Tail(path)
        self.traffic = traffic

    @property
    def counters(self) -> dict[str, float]:
        requests, errors = self.traffic.total("endpoint")
        return {
            "gateway_requests": float(requests),
            "gateway_errors": float(errors),
            "gateway_log_skipped_bytes": float(self._tail.skipped_bytes),
        }

    def close(self) -> None:
        self._tail.close()

    async def read(self) -> None:
        """Count the lines that came since; raises `GatewayError` where none is in the format."""
        taken, alien = 0, 0
        for lines in self._tail.new_lines():
            for line in lines:
                taken, alien = (taken + 1, alien) if self._take(line) else (taken, alien + 1)
            await asyncio.sleep(0)
        if alien and not taken:
            raise GatewayError(f"{self._path} is not in `log_format kcm '{FORMAT}'`")

    def _take(self, line: bytes) -> bool:
        parts = line.decode(errors="replace").split("\t", 5)
        try:
            status, took, addresses, statuses, times, endpoint = parts
            code = int(status)
        except ValueError:
            return False
        seconds = _seconds(took)
        if seconds is None:
            return False
        failed = code >= 500
        # Whoever asks for what does not exist names no endpoints of ours.
        new = code < 400 or failed
        self.traffic.count("endpoint", endpoint_of(endpoint), failed=failed, seconds=seconds, new=new)
        if addresses not in ("-", ""):
            self._take_attempts(_parts(addresses), _parts(statuses), _parts(times))
        return True

    def _take_attempts(self, addresses: list[str], statuses: list[str], times: list[str]) -> None:
        """nginx names each server that it tried, in their order."""
        for number, address in enumerate(addresses):
            status = statuses[number] if number < len(statuses) else "-"
            took = times[number] if number < len(times) else "-"
            self.traffic.count(
                "backend",
                address,
                failed=not status.isdecimal() or int(status) >= 500,
                seconds=_seconds(took),
            )


def _parts(text: str) -> list[str]:
    """`, ` stands between tries, ` : ` between groups of servers."""
    return [part.strip() for part in text.replace(" : ", ", ").split(", ")]


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < _SECONDS_MAX else None
