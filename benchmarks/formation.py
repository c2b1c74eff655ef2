"""How long a group takes to form: from the last process's `listening` line until all agree."""

import sys
from math import inf
from statistics import median

from benchmarks.agreeing import NoAgreement
from benchmarks.figures import Table, milliseconds, ratio
from benchmarks.managers import Managers
from benchmarks.processes import seconds_to_run
from benchmarks.serf import Agents, installed

SIZES = (3, 5, 9)
SECONDS_MAX = 10.0
NOTES = """
- {rounds} groups of each, by turns: median (least-most). The ratio is ours over serf's in each round.
- Ours start all at once and list each other. Of serf's agents one runs before the others start and join it,
  for `-join` does not wait.
- Agree: `manager.agreement.agree` over three documents of every manager, and all n members alive. Serf's
  agree when all give the same (name, address, status) by RPC, and n alive.
- One question at a time goes to one member after the other, over kept connections and 1 ms after the answer
  before, until it lists all; then all are asked at once. The figures hold that last poll whole.
- never: not within {most}, where we stop waiting. An agent that missed a join is told by its next full
  exchange, up to 60 s later.
"""


class _Samples:
    """What was measured for one system at one size: from the last line, from the last start, per poll."""

    def __init__(self) -> None:
        self.listening: list[float] = []
        self.started: list[float] = []
        self.polls: list[float] = []

    async def take(self, group: Managers | Agents, size: int) -> None:
        try:
            await group.start(size)
            agreed = await group.until_agreed(SECONDS_MAX)
            self.listening.append(agreed.at - max(process.ready for process in group.processes))
            self.started.append(agreed.at - max(process.started for process in group.processes))
            self.polls.append(agreed.poll)
        except NoAgreement:
            self.listening.append(inf)
            self.started.append(inf)
        finally:
            await group.kill()


async def measure(rounds: int) -> list[Table]:
    """One group of each system and size in each round, by turns."""
    ours = {size: _Samples() for size in SIZES}
    theirs = {size: _Samples() for size in SIZES} if installed() else {}
    interpreter: list[float] = []
    imports: list[float] = []
    for _ in range(rounds):
        interpreter.append(await seconds_to_run(sys.executable, "-c", "pass"))
        imports.append(await seconds_to_run(sys.executable, "-c", "import manager.process"))
        for size in SIZES:
            await ours[size].take(Managers(), size)
            if theirs:
                await theirs[size].take(Agents(), size)
    return [_formation(ours, theirs, rounds), _starts(interpreter, imports, rounds)]


def _formation(ours: dict[int, _Samples], theirs: dict[int, _Samples], rounds: int) -> Table:
    rows = []
    for size, mine in ours.items():
        serf = theirs.get(size, _Samples())
        rows.append(
            (
                str(size),
                milliseconds(mine.listening),
                milliseconds(serf.listening),
                ratio(mine.listening, serf.listening),
                milliseconds(mine.started),
                milliseconds(serf.started),
                f"{median(mine.polls) * 1000:.1f} ms" if mine.polls else "–",
                f"{median(serf.polls) * 1000:.1f} ms" if serf.polls else "–",
            )
        )
    head = (
        "n",
        "listening → all agree",
        "serf: running → all agree",
        "ratio",
        "last start → all agree",
        "serf: the same",
        "in it, last poll",
        "serf: last poll",
    )
    return Table("Forming a group", head, rows, NOTES.format(rounds=rounds, most=f"{SECONDS_MAX:g} s"))


def _starts(interpreter: list[float], imports: list[float], rounds: int) -> Table:
    rows = [
        ("`python -c pass`", milliseconds(interpreter)),
        ("`python -c 'import manager.process'`: all that a manager loads", milliseconds(imports)),
    ]
    notes = f"- From start to end, one at a time: median (least-most) of {rounds}."
    return Table("The interpreter's own start", ("what", "takes"), rows, notes)
