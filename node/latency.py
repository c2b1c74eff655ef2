"""How long answers took, counted in buckets that are the same for everybody, so that any two counts add up.

Four buckets an octave from 1 ms to 65 s: whatever is read from them is off by less than a tenth.
"""

from bisect import bisect_left

BOUNDS = tuple(0.001 * 2 ** (step / 4) for step in range(65))
"""In seconds. Bucket i holds what took at most bound i and more than the one before; the last, the rest."""
BUCKETS = len(BOUNDS) + 1


def bucket_of(seconds: float) -> int:
    """Which bucket counts what took `seconds`."""
    return bisect_left(BOUNDS, seconds)
