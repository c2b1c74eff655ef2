"""How far to trust ourselves (Lifeguard, Dadgar et al. 2017, § IV-A): a member that is slow accuses late."""

from dataclasses import dataclass


@dataclass(slots=True)
class Awareness:
    """A score from 0, healthy, to `most`; each point stretches the probe interval by its own length."""

    most: int
    score: int = 0

    def add(self, points: int) -> None:
        """Something spoke against us (above 0) or for us."""
        self.score = max(0, min(self.most, self.score + points))

    def stretch(self, interval: float) -> float:
        """`interval` as long as our score asks for."""
        return interval * (self.score + 1)
