"""How long to wait before the next try: full jitter, so that many who wait do not come together."""

from random import Random


def full_jitter(step: int, rng: Random, *, first: float = 0.5, longest: float = 15.0) -> float:
    """Anywhere from 0 to `first` seconds, doubled with every step up to `longest`.

    Of the usual kinds this one costs the least work for the same time to success (M. Brooker,
    "Exponential Backoff and Jitter", AWS 2015).
    """
    return rng.uniform(0.0, min(longest, first * 2.0 ** min(step, 32)))
