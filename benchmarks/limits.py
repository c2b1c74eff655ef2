"""Whether real gateways together keep to the cluster's limit: what they let through, counted at a backend.

`--gateway`, `--mode` and `--stories` choose what is told; it fails where a bound does not hold.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from benchmarks.figures import Table
from benchmarks.gateways import Fleet
from benchmarks.processes import BenchmarkError
from node.loop import run

LIMIT = 300.0
MOST, LEAST = 1.05, 0.95
LEASE = 5.0
BACK_SECONDS = 2.0
JOINED_SECONDS = 3.0
WIDTH = {"nginx": 2.0, "haproxy": 5.0}
"""Seconds in which no more than the limit may pass. HAProxy counts by windows of 1 s: when a share is raised,
it lets the difference through at once."""
SETTLE_SECONDS = 6.0
STORIES = ("alone", "steady", "join", "leave", "node-killed", "manager-killed", "split", "ignored")
SETTINGS = """
limits_mode: {mode}
limits: {{public: {{max_rate: 300, every: 1s, lease: 5s, reuse_last: 0s, safe: 3}}}}
nodes: {{heartbeat: 1s, unreachable_after: 3s, grace: 5s, rejoin_window: 5s}}
"""


@dataclass(slots=True)
class Verdict:
    """What was counted, as rows of a table, and what did not hold."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, story: str, what: str, rate: float, least: float | None, most: float | None) -> None:
        """`rate` per second must be within [`least`, `most`], parts of the limit."""
        bounds = (
            f"{'' if least is None else f'≥ {least:.0%}'} {'' if most is None else f'≤ {most:.0%}'}".strip()
        )
        self.rows.append((story, what, f"{rate:.1f}/s = {rate / LIMIT:.1%}", bounds or "–"))
        if (least is not None and rate < least * LIMIT) or (most is not None and rate > most * LIMIT):
            self.broken.append(f"{story}, {what}: {rate:.1f}/s is not {bounds} of {LIMIT:g}/s")
        print(*self.rows[-1], sep=" | ", file=sys.stderr, flush=True)


class Stories:
    """Told one after the other, on one fleet with load on every gateway."""

    def __init__(self, fleet: Fleet, verdict: Verdict, window: float) -> None:
        self._fleet, self._verdict, self._window = fleet, verdict, window
        self._counted = fleet.backend

    async def tell(self, stories: Iterable[str], mode: str) -> None:
        await self._fleet.open()
        stories = list(stories)
        if "alone" in stories:
            await self._alone()
        if stories == ["alone"]:
            return
        await asyncio.gather(*(self._fleet.start_manager(f"m{at}") for at in (1, 2, 3)))
        await asyncio.sleep(SETTLE_SECONDS)
        ignoring = LIMIT if "ignored" in stories else 0.0
        for at in (1, 2, 3):
            await self._fleet.start_node(f"n{at}", f"m{at}", ignoring=ignoring if at == 1 else 0.0)
        await asyncio.gather(*(self._fleet.load(f"n{at}") for at in (1, 2, 3)))
        await asyncio.sleep(SETTLE_SECONDS)
        if "steady" in stories or "ignored" in stories:
            await self._steady("a node ignores its share" if ignoring else "load on all")
        if "join" in stories:
            await self._join()
        if "leave" in stories:
            await self._leave()
        if "node-killed" in stories:
            await self._node_killed()
        if "manager-killed" in stories:
            await self._manager_killed()
        if "split" in stories:
            await self._split(mode)
        if self._fleet.kind == "haproxy":
            living = [name for name, node in self._fleet.nodes.items() if node.child.returncode is None]
            reloads = [await self._fleet.reloads(name) for name in living]
            self._verdict.rows.append(("all", "reloads of HAProxy", str(sum(reloads)), "0"))
            if any(reloads):
                self._verdict.broken.append(f"HAProxy has reloaded {sum(reloads)} times")

    async def _alone(self) -> None:
        """What people have without us."""
        for at in (1, 2, 3):
            await self._fleet.start_alone(f"n{at}", LIMIT)
        await asyncio.gather(*(self._fleet.load(f"n{at}") for at in (1, 2, 3)))
        await asyncio.sleep(2.0)
        begin = time.monotonic()
        await asyncio.sleep(self._window / 2)
        rate = self._counted.per_second(begin, time.monotonic())
        self._verdict.add("without us", "three gateways at the full limit", rate, 2.7, None)
        await self._fleet.end_load()
        await self._fleet.end_alone()

    async def _steady(self, what: str) -> None:
        begin = time.monotonic()
        await asyncio.sleep(self._window)
        rate = self._counted.per_second(begin, time.monotonic())
        self._verdict.add("three nodes", f"{what}, {self._window:g} s", rate, LEAST, MOST)

    async def _watch(self, story: str, begin: float, whole_at: float, what: str) -> None:
        """From `begin` on never more than the limit, and from `whole_at` on all of it."""
        end = whole_at + max(3.0, self._window / 2)
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        width = WIDTH[self._fleet.kind]
        highest = self._counted.highest(min(begin, end - width), end, width)
        self._verdict.add(story, f"most in {width:g} s", highest, None, MOST)
        self._verdict.add(story, what, self._counted.per_second(whole_at, end), LEAST, MOST)

    async def _join(self) -> None:
        begin = time.monotonic()
        await self._fleet.start_node("n4", "m1")
        await self._fleet.load("n4")
        await self._watch("a fourth joins", begin, time.monotonic() + JOINED_SECONDS, "3 s after it")

    async def _leave(self) -> None:
        begin = time.monotonic()
        self._fleet.nodes["n4"].send(signal.SIGTERM)
        await self._watch("it leaves", begin, begin + BACK_SECONDS, "2 s after it")

    async def _node_killed(self) -> None:
        begin = time.monotonic()
        await self._fleet.nodes["n3"].kill()
        whole_at = begin + LEASE + BACK_SECONDS
        await self._watch("a node is killed", begin, whole_at, "2 s after its lease")
        await self._fleet.start_node("n3", "m3")
        await asyncio.sleep(SETTLE_SECONDS)

    async def _manager_killed(self) -> None:
        begin = time.monotonic()
        await self._fleet.managers["m2"].kill()
        await self._watch("a manager is killed", begin, begin + BACK_SECONDS, "2 s after it")
        await self._fleet.start_manager("m2")
        await asyncio.sleep(2 * LEASE)

    async def _split(self, mode: str) -> None:
        """m3 with its node on one side; the node of the killed manager is where it went."""
        sides = ("m1", "m2", "n1", "n2"), ("m3", "n3")
        begin = time.monotonic()
        self._fleet.cut(*sides)
        # The death of the other side's managers, the grace of their nodes and the last leases.
        over = begin + 30.0
        await asyncio.sleep(over + self._window - time.monotonic())
        end = time.monotonic()
        rates = [
            self._counted.per_second(over, end, [self._fleet.hosts[name] for name in side if name[0] == "n"])
            for side in sides
        ]
        if mode == "conserve":
            width = WIDTH[self._fleet.kind]
            highest = self._counted.highest(begin, end, width)
            self._verdict.add("split, conserve", f"all sides, most in {width:g} s", highest, None, MOST)
            self._verdict.add("split, conserve", "all sides", sum(rates), LEAST, MOST)
        else:
            for rate, side in zip(rates, sides, strict=True):
                self._verdict.add("split, available", f"side of {side[0]}", rate, LEAST, MOST)
        self._fleet.heal()
        healed = time.monotonic()
        await asyncio.sleep(10.0 + self._window)
        end = time.monotonic()
        rate = self._counted.per_second(healed + 10.0, end)
        self._verdict.add("healed", "after 10 s", rate, LEAST, MOST)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gateway", choices=("nginx", "haproxy"), default="nginx", help="default nginx")
    parser.add_argument("--mode", choices=("available", "conserve"), default="available")
    parser.add_argument(
        "--stories-of-limits", default=",".join(STORIES[:-1]), help="of " + ", ".join(STORIES)
    )
    parser.add_argument("--window", type=float, default=10.0, help="seconds to count for (default 10)")


async def measure(_: argparse.Namespace) -> list[Table]:
    """Both gateways in both modes, then a node that ignores its share, each in namespaces of its own."""
    tables = []
    for gateway, mode in product(("nginx", "haproxy"), ("available", "conserve")):
        stories = STORIES[:-1] if mode == "available" else ("steady", "manager-killed", "split")
        rows = await _told(gateway, mode, stories)
        tables.append(Table(f"Limits: {gateway}, {mode}", HEAD, rows, NOTES))
    rows = await _told("nginx", "available", ("ignored",), holds=False)
    tables.append(Table("Limits: a node that ignores its share is found out", HEAD, rows, IGNORED))
    return tables


async def _told(
    gateway: str, mode: str, stories: Iterable[str], *, holds: bool = True
) -> list[tuple[str, ...]]:
    text = await _in_namespaces(
        f"--gateway={gateway}", f"--mode={mode}", f"--stories-of-limits={','.join(stories)}", holds=holds
    )
    return [tuple(line.split(" | ")) for line in text.splitlines()]


HEAD = ("story", "what", "let through", "bound")
IGNORED = """
- Its agent is patched: its nginx lets the whole limit through, whatever it was told. This run must break its
  bound, and did.
"""


NOTES = """
- Cluster limit 300/s, leases of 5 s, three managers, three nodes and their gateways, each in a network
  namespace of its own; wrk asks each gateway for more than the whole limit, with 8 connections.
- Counted at the backend behind the gateways, from the second second on.
"""


async def _in_namespaces(*options: str, holds: bool) -> str:
    """What such a run prints; `holds`: whether its bounds must hold, or must not."""
    if os.geteuid() != 0:
        raise BenchmarkError("limits needs root, for network namespaces")
    for program in ("unshare", "ip", "nft", "wrk", "nginx", "haproxy"):
        if shutil.which(program) is None:
            raise BenchmarkError(f"{program} is needed: see .ci/packages")
    child = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *(sys.executable, "-m", "benchmarks.limits", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        printed, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()
    if child.returncode != (0 if holds else 1):
        raise BenchmarkError(
            "a bound of the limits does not hold, or could not be measured"
            if holds
            else "a node that ignores its share is not found out"
        )
    return printed.decode()


async def _take(options: argparse.Namespace) -> Verdict:
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(options.gateway, Path(folder), 3, 4, SETTINGS.format(mode=options.mode))
        try:
            stories = options.stories_of_limits.split(",")
            await Stories(fleet, verdict, options.window).tell(stories, options.mode)
        finally:
            await fleet.close()
    return verdict


def main() -> int:
    """Tell the stories in this process, alone in its namespaces; 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    add_options(parser)
    try:
        verdict = run(_take(parser.parse_args()))
    except BenchmarkError as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    for row in verdict.rows:
        print(" | ".join(row))
    for line in verdict.broken:
        print(f"broken: {line}", file=sys.stderr)
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
