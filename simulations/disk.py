"""The disk of one manager: it takes its time, runs full, loses what a crash cuts short, and is set back."""

from collections.abc import Callable, Sequence
from random import Random

from gossip.pages import page_of
from manager.disk.saved import Changes, Saved
from simulations.world import World

FULL_SECONDS_MAX = 10.0
"""After which a process gives up a full disk, as the real one does."""
FULL_RETRY_AFTER = 0.5
KEPT_EVERY = 3.0
KEPT_MAX = 10


class ManagerDisk:
    """What is on it survives the process. Commits are whole or not there, as in SQLite's log."""

    def __init__(self, world: World, name: str) -> None:
        self.saved = Saved()
        self.earlier: list[Saved] = []
        """Copies of former contents, oldest first."""
        self.full = False
        self.slow = 0.002
        """Seconds that a commit takes, at most."""
        self.set_back = False
        """Whether it ever went back in time, or was lost."""
        self.is_old = False
        """Whether the next process starts from what is not the last state of its name."""
        self._world = world
        self._random: Random = world.random(f"{name}/disk")
        self._under_way: Sequence[Changes] | None = None
        self._kept_at = 0.0

    def write(self, batch: Sequence[Changes], done: Callable[[], None], failed: Callable[[], None]) -> None:
        """One commit; `done` when it is there, `failed` when the disk stays full."""
        self._under_way = batch
        self._try(batch, done, failed, self._world.now + FULL_SECONDS_MAX)

    def _try(
        self,
        batch: Sequence[Changes],
        done: Callable[[], None],
        failed: Callable[[], None],
        gives_up_at: float,
    ) -> None:
        def end() -> None:
            if self._under_way is not batch:
                return  # the process is gone
            if not self.full:
                self._commit(batch)
                done()
            elif self._world.now < gives_up_at:
                self._world.after(FULL_RETRY_AFTER, lambda: self._try(batch, done, failed, gives_up_at))
            else:
                self._under_way = None
                failed()

        self._world.after(self._random.uniform(0.0, self.slow), end)

    def crash(self) -> None:
        """The process ends: what it was writing is there, whole, or is not."""
        batch, self._under_way = self._under_way, None
        if batch is not None and not self.full and self._random.random() < 0.5:
            self._commit(batch)

    def go_back(self, *, may_be_lost: bool = True) -> bool:
        """An earlier state is there again, or none at all; false where there never was one."""
        if not self.earlier:
            return False
        self.set_back = self.is_old = True
        self.saved = _copy(self._random.choice([*([Saved()] if may_be_lost else []), *self.earlier]))
        return True

    def copy(self, name: str) -> "ManagerDisk":
        """Another one with the same on it."""
        disk = ManagerDisk(self._world, name)
        disk.saved = _copy(self.saved)
        disk.is_old = True
        disk.set_back = self.set_back
        return disk

    def _commit(self, batch: Sequence[Changes]) -> None:
        self._under_way = None
        for changes in batch:
            self.saved.apply(changes)
        if self._world.now >= self._kept_at:
            self._kept_at = self._world.now + KEPT_EVERY
            self.earlier = [*self.earlier, _copy(self.saved)][-KEPT_MAX:]


def _copy(saved: Saved) -> Saved:
    return Saved(
        {owner: page_of(page.whole()) for owner, page in saved.pages.items()},
        {owner: page_of(page.whole()) for owner, page in saved.former.items()},
        dict(saved.facts),
        dict(saved.steps),
        dict(saved.traffic),
        dict(saved.contents),
    )
