"""What a founder's configuration may not say otherwise than when it was founded, by what is on its disk."""

from collections.abc import Iterable

from manager.seats.rights import Account


def refusal(before: Account | None, founders: Iterable[str]) -> str:
    """Why it does not start; empty where it may. `before`: its account as it last stood on its page.

    Shares follow from the list: founders with other lists may spend more than the total together.
    """
    ours = tuple(sorted(founders))
    if before is None or not before.founded or before.founders == ours:
        return ""
    return (
        f"group.founders were {', '.join(before.founders)} when this founder was founded, and are "
        f"{', '.join(ours)} now: put the former back. One that is gone for good stays listed, and is "
        "expelled (`kcm group founders expel NAME`); other founders need a group of another name"
    )


def warning(before: Account | None, terms: str) -> str:
    """What the operator is to know of other lives of tickets than at the last start; empty for nothing."""
    if before is None or not before.founded or before.terms == terms:
        return ""
    return (
        f"from now on {terms}; by this founder's last start it was: {before.terms}. Make that alike at all "
        "founders, and until tickets of the longer life are over expel no founder and restore no snapshot"
    )
