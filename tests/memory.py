"""How much memory an object holds, for what is promised about it."""

import sys
from typing import Any


def bytes_of(root: object) -> int:
    """Of `root` and all that it alone refers to; small whole numbers are shared by all."""
    seen: set[int] = set()
    stack: list[Any] = [root]
    total = 0
    while stack:
        one = stack.pop()
        if id(one) in seen or (isinstance(one, int) and -5 <= one <= 256):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        if isinstance(one, dict):
            stack += [*one.keys(), *one.values()]
        elif isinstance(one, str | bytes | int | float):
            continue
        elif hasattr(one, "__slots__"):
            stack += [getattr(one, name) for name in one.__slots__]
        elif hasattr(one, "__iter__"):
            stack += list(one)
    return total
