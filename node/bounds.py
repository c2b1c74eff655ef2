"""Bounds and words that node and manager share, apart from `protocol`: quick to load, for `kcm`."""

CONFIG_BYTES_MAX = 4 * 2**20
"""Of a gateway's configuration."""


def in_words(max_rate: float, every: float) -> str:
    """A rate as people read it, `150 per 1 s`: what is beyond four digits is how it was divided."""
    return f"{max_rate:.4g} per {every:g} s" if max_rate < 1000 else f"{max_rate:.0f} per {every:g} s"
