"""How a mutant changes the core, and how that is undone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Patch: TypeAlias = Callable[[Any, str, Any], None]
"""`patch(owner, name, value)`: let `owner` have another `name`."""


@contextmanager
def applied(mutant: Callable[[Patch], None]) -> Iterator[None]:
    """The core with this bug in it."""
    before: list[tuple[Any, str, Any]] = []

    def patch(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, vars(owner)[name]))
        setattr(owner, name, value)

    try:
        mutant(patch)
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)
