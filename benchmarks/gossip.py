"""The whole life of a group beside serf's: forming, news, quiet, splits, a death, a farewell.

Each cell (system, size, round, story) is appended to a file as it is finished, so that a long run can be
stopped and gone on with (`--resume`). `python -m benchmarks.gossip` is the process that is alone in its
namespaces.

Stories of milliseconds have the machine to themselves, one group after the other. Those that mostly wait are
lived through by many groups side by side, ours and serf's in equal number.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Container, Iterable
from dataclasses import dataclass
from itertools import product
from math import inf, isfinite
from pathlib import Path
from statistics import median

from benchmarks.figures import Table, ratio, spread
from benchmarks.groups import WatchedAgents, WatchedGroup, WatchedManagers, cpu_seconds, mebibytes
from benchmarks.machine import ROOT, commit
from benchmarks.networks import Loopback, Namespaces
from benchmarks.processes import BenchmarkError
from benchmarks.serf import installed
from node.loop import run

SIZES = (3, 5, 16, 32)
ALONE = ("formation", "news", "tag", "leave")
WAITING = ("quiet", "split5", "split45", "kill")
STORIES = (*ALONE, *WAITING)
MEMBERS_AT_ONCE = 64
"""Of all groups that wait side by side; idle, each takes 0.4 to 2 % of a core, more in larger groups."""
CELLS = ROOT / ".bench" / "gossip.jsonl"
NEWS_PER_ROUND = 10
FORMING_SECONDS_MAX = 120.0
SEEN_SECONDS_MAX = 60.0
HEAL_SECONDS_MAX = 150.0
STAYS_SECONDS = 10.0
"""Whatever a split has begun (a suspicion, a refutation) is over by then."""
SETTLE_SECONDS = 10.0
QUIET_SECONDS = 20.0

Figures = dict[str, float]

ROWS = {
    ("formation", "listening"): ("last is listening → all list all", "s", ""),
    ("news", "seen"): ("news → seen by all", "s", "0.2"),
    ("tag", "seen"): ("the same, serf: a tag changed", "s", "0.2"),
    ("quiet", "bytes"): ("quiescence: bytes/s per member", "", "1.5"),
    ("quiet", "packets"): ("quiescence: packets/s per member", "", ""),
    ("quiet", "cpu"): ("quiescence: % of a core per member", "", ""),
    ("quiet", "rss"): ("resident MiB per member", "", ""),
    ("split5", "healed"): ("split of 5 s: healed → all list all", "s", "0.5 at 3, 5; else 1 or ≤ 1.5 s"),
    ("split45", "healed"): ("split of 45 s: the same", "s", "0.5 at 3, 5; else 1 or ≤ 1.5 s"),
    ("kill", "first"): ("SIGKILL → first says dead", "s", ""),
    ("kill", "all"): ("SIGKILL → all say dead", "s", "1 at 3-16"),
    ("leave", "all"): ("told to leave → all say left", "s", "0.2"),
}
NOTES = """
- {rounds} rounds, each with new groups. Median (least-most) of the rounds; the ratio is ours over serf's in
  each round in which both were measured, so many of them. Fewer: a group did not form within {forming:g} s,
  or no time was left. {network}
- {alone}: one group after the other, ours and serf's by turns, and none beside it. {waiting}: as many
  groups side by side as have {members} members together, ours and serf's of a round always at once.
- Both are watched by what they log, stamped by one clock as it arrives; nobody is asked anything. Serf's are
  the lines of its core: what it tells its RPC clients of members is 1 to 3 s later.
- Ours all start at once and list each other; serf's first runs before the others are started and join it.
- News of ours is a cap set by `PATCH /api/v1/subscription`, an entry of the ledger; serf's a user event, and
  a changed tag. Median of {news} in each round, at a member of random choice.
- Healed: from the end of the cut until the last member whose list was not whole has it whole, and it stays so
  for {stays:g} s. 0: nobody had been declared dead, and with 0 of serf's there is no ratio. never: not within
  {heal:g} s.
- Told to leave: SIGTERM to ours, SIGINT to serf's.
- Quiescence: over {quiet:g} s, {settle:g} s after the group has formed. Bytes with IP headers. Nobody
  has to ask for addresses by ARP: the kernel keeps too few of them for groups of 32, and loses the rest.
- Commits measured: {commits}. Load when each cell was taken: {load}, on {cores} cores:
  what is above that is waiting for others, and ours, in Python, needs more of a processor than serf's.
"""


class Life:
    """One group of one system that lives through stories, in their order."""

    def __init__(self, group: WatchedGroup) -> None:
        self.group = group
        self.watch = group.watch
        self._told = 1000

    async def formation(self) -> Figures:
        """Start all. The group has to form whatever else is wanted."""
        await self.group.start_all()
        names = list(self.group.hosts)
        if not await self.watch.until(lambda: self.watch.complete(names), FORMING_SECONDS_MAX):
            raise BenchmarkError("the group does not form")
        last = max(seen.at for seen in self.watch.seen if seen.what == "alive")
        ready = max(process.ready for process in self.group.running.values())
        return {"listening": max(0.0, last - ready)}

    async def news(self) -> Figures:
        return {"seen": await self._median_of_news(self.group.tell, "news")}

    async def tag(self) -> Figures:
        """Ours has no tag that changes: its ledger is for that, and is measured by `news`."""
        if not isinstance(self.group, WatchedAgents):
            return {}
        return {"seen": await self._median_of_news(self.group.tag, "changed")}

    async def _median_of_news(self, tell: Callable[[str, str], Awaitable[float]], what: str) -> float:
        took = []
        for _ in range(NEWS_PER_ROUND):
            await asyncio.sleep(random.uniform(0.3, 0.6))
            self._told += 1
            origin = random.choice(list(self.group.running))
            since = len(self.watch.seen)
            at = await tell(str(self._told), origin)
            subject = origin if what == "changed" else str(self._told)
            took.append(await self._all_saw(since, subject, what, at, SEEN_SECONDS_MAX))
        return median(took)

    async def _all_saw(self, since: int, subject: str, what: str, at: float, within: float) -> float:
        found: dict[str, float] = {}

        def complete() -> bool:
            found.update(self.watch.first_of_each(since, subject, what))
            return self.group.running.keys() <= found.keys()

        return max(found.values()) - at if await self.watch.until(complete, within) else inf

    async def quiet(self) -> Figures:
        await asyncio.sleep(SETTLE_SECONDS)
        network = self.group.network
        pids = [process.pid for process in self.group.running.values()]
        hosts = [self.group.hosts[name] for name in self.group.running]
        before, cpu = _sent(network, hosts), -sum(map(cpu_seconds, pids))
        await asyncio.sleep(QUIET_SECONDS)
        cpu += sum(map(cpu_seconds, pids))
        figures = {
            "cpu": 100 * cpu / QUIET_SECONDS / len(pids),
            "rss": sum(mebibytes(pid, "Rss") for pid in pids) / len(pids),
        }
        if before is not None and (after := _sent(network, hosts)) is not None:
            packets, sent = (now - was for now, was in zip(after, before, strict=True))
            figures |= {
                "packets": packets / QUIET_SECONDS / len(pids),
                "bytes": sent / QUIET_SECONDS / len(pids),
            }
        return figures

    async def split5(self) -> Figures:
        return await self._split(5.0)

    async def split45(self) -> Figures:
        return await self._split(45.0)

    async def _split(self, seconds: float) -> Figures:
        network = self.group.network
        if not isinstance(network, Namespaces):
            return {}
        names = list(self.group.running)
        hosts = [self.group.hosts[name] for name in names]
        network.cut(hosts[: len(hosts) // 2], hosts[len(hosts) // 2 :])
        await asyncio.sleep(seconds)
        since = len(self.watch.seen)
        network.heal()
        at = time.monotonic()
        whole_since = at if self.watch.complete(names) else inf
        # An event that completes the lists counts, and so does one that spoils them again.
        while time.monotonic() < at + HEAL_SECONDS_MAX:
            whole = await self.watch.until(
                lambda: self.watch.complete(names), at + HEAL_SECONDS_MAX - time.monotonic()
            )
            if not whole:
                break
            if whole_since == inf:
                whole_since = max(seen.at for seen in self.watch.seen[since:] if seen.what == "alive")
            if not await self.watch.until(lambda: not self.watch.complete(names), STAYS_SECONDS):
                return {"healed": whole_since - at}
            whole_since = inf
        return {"healed": inf}

    async def kill(self) -> Figures:
        victim = random.choice(list(self.group.running)[1:])
        since = len(self.watch.seen)
        at = await self.group.end(victim, signal.SIGKILL)
        figures = {"all": await self._all_saw(since, victim, "dead", at, SEEN_SECONDS_MAX)}
        saw = self.watch.first_of_each(since, victim, "dead")
        figures["first"] = min(saw.values(), default=inf) - at
        return figures

    async def leave(self) -> Figures:
        leaver = random.choice(list(self.group.running)[1:])
        since = len(self.watch.seen)
        at = await self.group.end(leaver, self.group.leave_signal)
        return {"all": await self._all_saw(since, leaver, "left", at, SEEN_SECONDS_MAX)}


def _sent(network: Loopback, hosts: list[str]) -> tuple[int, int] | None:
    if not isinstance(network, Namespaces):
        return None
    each = [network.sent(host) for host in hosts]
    return sum(sent.packets for sent in each), sum(sent.bytes for sent in each)


# Cells


def _read_cells(file: Path) -> list[dict[str, object]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _key(cell: dict[str, object]) -> tuple[object, ...]:
    return cell["system"], cell["size"], cell["round"], cell["story"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Stories for one new group to live through."""

    system: str
    size: int
    round: int
    stories: tuple[str, ...]


def batches(
    sizes: Iterable[int],
    rounds: int,
    systems: Iterable[str],
    stories: Iterable[str],
    taken: Container[tuple[object, ...]],
) -> list[list[_Wanted]]:
    """What is wanted and not `taken` yet: the batches one after the other, what is in one side by side."""

    def missing(system: str, size: int, number: int, of: tuple[str, ...]) -> _Wanted:
        left = (story for story in of if story in stories and (system, size, number, story) not in taken)
        return _Wanted(system, size, number, tuple(left))

    alone, waiting = [], []
    for size, number in product(sizes, range(rounds)):
        alone += [[missing(system, size, number, ALONE)] for system in systems]
        waiting.append([missing(system, size, number, WAITING) for system in systems])
    side_by_side: list[list[_Wanted]] = []
    for group in waiting:
        group = [wanted for wanted in group if wanted.stories]
        last = side_by_side[-1] if side_by_side else []
        if not last or sum(wanted.size for wanted in [*last, *group]) > MEMBERS_AT_ONCE:
            side_by_side.append(last := [])
        last += group
    return [batch for batch in alone if batch[0].stories] + [batch for batch in side_by_side if batch]


async def _take(options: argparse.Namespace) -> None:
    """Take all cells that are wanted and not there yet, as far as time permits."""
    started = time.monotonic()
    options.cells.parent.mkdir(exist_ok=True)
    taken = {_key(cell) for cell in _read_cells(options.cells)}
    root = os.geteuid() == 0
    systems = {"ours": WatchedManagers, **({"serf": WatchedAgents} if installed() else {})}
    for batch in batches(options.sizes, options.rounds, systems, options.stories, taken):
        if time.monotonic() - started > options.minutes * 60:
            print("no time is left; --resume goes on", file=sys.stderr)
            return
        async with asyncio.TaskGroup() as lives:
            for number, wanted in enumerate(batch):
                network = Namespaces(wanted.size, number) if root else Loopback()
                group = systems[wanted.system](network, wanted.size)
                lives.create_task(_live(group, wanted, options.cells))


async def _live(group: WatchedGroup, wanted: _Wanted, cells: Path) -> None:
    life = Life(group)
    try:
        # Without this the group is not there, so it is taken whether or not it is wanted.
        for story in dict.fromkeys(["formation", *wanted.stories]):
            figures: Figures = await getattr(life, story)()
            if story not in wanted.stories:
                continue
            said = ", ".join(f"{name} {value:.3g}" for name, value in figures.items()) or "not measured"
            head = f"n={wanted.size} round {wanted.round + 1} {wanted.system} {story}"
            print(f"{head}: {said}", file=sys.stderr, flush=True)
            cell = {
                "system": wanted.system,
                "size": wanted.size,
                "round": wanted.round,
                "story": story,
                "commit": commit(),
                "load": os.getloadavg()[0],
                "figures": {key: value if isfinite(value) else None for key, value in figures.items()},
            }
            with cells.open("a", encoding="utf-8") as file:
                file.write(json.dumps(cell) + "\n")
    except BenchmarkError as error:
        print(f"n={wanted.size} round {wanted.round + 1} {wanted.system}: {error}", file=sys.stderr)
    finally:
        await group.close()


# The figure


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which cells of `gossip` to take, and where they are kept."""
    listed = ", ".join(STORIES)
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="gossip: of groups (default 3,5,16,32)")
    parser.add_argument("--stories", type=_stories, default=STORIES, help=f"gossip: of {listed}")
    parser.add_argument("--resume", action="store_true", help="gossip: keep the cells that are there")
    parser.add_argument("--minutes", type=float, default=inf, help="gossip: begin nothing new after so many")
    parser.add_argument("--cells", type=Path, default=CELLS, help="gossip: where cells are kept")


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if not all(3 <= size <= 200 for size in sizes):
        raise argparse.ArgumentTypeError("sizes are from 3 to 200")
    return sizes


def _stories(text: str) -> tuple[str, ...]:
    wanted = text.split(",")
    if unknown := sorted(set(wanted) - set(STORIES)):
        raise argparse.ArgumentTypeError(f"no story is called {unknown[0]!r}")
    return tuple(story for story in STORIES if story in wanted)


async def measure(options: argparse.Namespace) -> list[Table]:
    """Take what is wanted in a process alone in its namespaces, and make a table of all cells there are."""
    if not options.resume:
        options.cells.unlink(missing_ok=True)
    alone = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    if os.geteuid() == 0:
        for program in ("unshare", "ip", "nft"):
            if shutil.which(program) is None:
                raise BenchmarkError(f"{program} is needed: apt-get install util-linux iproute2 nftables")
    child = await asyncio.create_subprocess_exec(
        *(alone if os.geteuid() == 0 else ()),
        *(sys.executable, "-m", "benchmarks.gossip", f"--rounds={options.rounds}"),
        *(f"--sizes={','.join(map(str, options.sizes))}", f"--stories={','.join(options.stories)}"),
        *(f"--cells={options.cells.resolve()}", f"--minutes={options.minutes}"),
    )
    try:
        if await child.wait():
            raise BenchmarkError("gossip ended early; --resume goes on")
    finally:
        if child.returncode is None:
            # `unshare` takes no SIGTERM; what it has started ends with it.
            child.kill()
            await child.wait()
    return [_table(_read_cells(options.cells), separate=os.geteuid() == 0)]


def _table(cells: list[dict[str, object]], *, separate: bool) -> Table:
    found: dict[tuple[object, ...], dict[int, float]] = {}
    for cell in cells:
        figures = cell["figures"]
        assert isinstance(figures, dict)
        for name, value in figures.items():
            key = (cell["system"], cell["size"], cell["story"], name)
            found.setdefault(key, {})[int(str(cell["round"]))] = inf if value is None else value
    # Ours has one kind of news, to set beside both of serf's.
    for (system, size, story, name), values in list(found.items()):
        if system == "ours" and story == "news":
            found["ours", size, "tag", name] = values
    rows = []
    for size in sorted({int(str(cell["size"])) for cell in cells}):
        for (story, name), (title, unit, target) in ROWS.items():
            ours = found.get(("ours", size, story, name), {})
            serf = found.get(("serf", size, story, name), {})
            both = sorted(ours.keys() & serf.keys())
            quotient = ratio([ours[at] for at in both], [serf[at] for at in both]) if both else "–"
            if ours or serf:
                shown = (
                    spread([*ours.values()], unit),
                    spread([*serf.values()], unit),
                    quotient,
                    f"{len(both)}",
                )
                rows.append((str(size), title, *shown, target))
    notes = NOTES.format(
        rounds=max((int(str(cell["round"])) + 1 for cell in cells), default=0),
        network="Each member in a network namespace of its own, cuts by nft on the bridge between them."
        if separate
        else "All on loopback addresses (not root): no splits, and no traffic of one group apart.",
        alone=", ".join(ALONE).capitalize(),
        waiting=", ".join(WAITING).capitalize(),
        members=MEMBERS_AT_ONCE,
        cores=os.cpu_count(),
        forming=FORMING_SECONDS_MAX,
        news=NEWS_PER_ROUND,
        stays=STAYS_SECONDS,
        heal=HEAL_SECONDS_MAX,
        quiet=QUIET_SECONDS,
        settle=SETTLE_SECONDS,
        commits=", ".join(sorted({str(cell["commit"]) for cell in cells})),
        load=spread([float(str(cell["load"])) for cell in cells]),
    )
    head = ("n", "what", "ours", "serf", "ratio", "of rounds", "target: at most")
    return Table("Gossip", head, rows, notes)


def main() -> int:
    """Take cells only; the table is made by `python -m benchmarks gossip`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gossip", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    add_options(parser)
    try:
        run(_take(parser.parse_args()))
    except BenchmarkError as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
