"""Which manager to try next: everyone known once, in random order, then all again."""

from collections.abc import Iterable
from random import Random


class Candidates:
    """What an operator gave, addresses and names of many, and what managers told, as rounds of tries."""

    def __init__(self, seeds: Iterable[str]) -> None:
        self._seeds = tuple(dict.fromkeys(seeds))
        assert self._seeds, "a node without a seed has nobody to ask"
        self._learned: tuple[str, ...] = ()
        self._queue: list[str] = []
        self._tried: set[str] = set()
        """In the present round."""
        self.round = 0
        """Rounds begun since `restart`, less one: the step of the back-off."""

    def learn(self, managers: tuple[str, ...]) -> None:
        """Fall back on these too; an empty list says nothing."""
        self._learned = managers or self._learned

    def known(self) -> list[str]:
        """Everyone, seeds first, nobody twice."""
        return list(dict.fromkeys((*self._seeds, *self._learned)))

    def restart(self, rng: Random, *, first: tuple[str, ...] = (), last: tuple[str, ...] = ()) -> None:
        """Begin a first round: `first` in their order, then the others, then `last`."""
        self.round = 0
        self._begin(rng, first, last)

    def next(self, rng: Random) -> str:
        """The next to try; begins another round when everyone has been tried."""
        if not self._queue:
            self.round += 1
            self._begin(rng, (), ())
        address = self._queue.pop(0)
        self._tried.add(address)
        return address

    def expand(self, addresses: Iterable[str]) -> bool:
        """The name that was tried last stands for these: they come next, unless their turn was or will be.

        Whether any of them does.
        """
        fresh = [a for a in dict.fromkeys(addresses) if a not in self._tried and a not in self._queue]
        self._queue[:0] = fresh
        return bool(fresh)

    def _begin(self, rng: Random, first: tuple[str, ...], last: tuple[str, ...]) -> None:
        others = [address for address in self.known() if address not in first]
        rng.shuffle(others)
        others.sort(key=lambda address: address in last)
        self._queue = [*dict.fromkeys(first), *others]
        self._tried.clear()
