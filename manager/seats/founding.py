"""What a founder's configuration may not say otherwise than when it was founded, by what is on its disk."""

from collections.abc import Iterable

from manager.seats.rights import Account


def refusal(before: Account | None, founders: Iterable[str], *, has_met: bool) -> str:
    """Why it does not start; empty where it may. `before`: its account as it last stood on its page.

    Shares follow from the list: founders with other lists may spend more than the total together. `has_met`:
    it has said yes to another founder, which may count on that list from then on (R1).
    """
    ours = tuple(sorted(founders))
    if before is None or not (before.founded or has_met) or before.founders == ours:
        return ""
    when = "was founded" if before.founded else "met another one"
    return (
        f"group.founders were {', '.join(before.founders)} when this founder {when}, and are "
        f"{', '.join(ours)} now: put the former back. One that is gone for good stays listed, and is "
        "expelled (`kcm group founders expel NAME`); other founders need a group of another name"
    )


def warning(before: Account | None, terms: str) -> str:
    """What the operator is to know of other lives of tickets than at the last start; empty for nothing."""
    if before is None or not before.founded or before.terms == terms:
        return ""
    return (
        f"from now on {terms}; by this founder's last start it was: {before.terms}. Make that alike at all "
        "founders: before, none gives tickets of the longer life that it has not given yet"
    )
