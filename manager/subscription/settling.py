"""What a changed cap still waits for, and on whom: so that its answer is not taken for more than it is."""

from manager.core import Manager
from manager.seats.home import UNLIMITED
from manager.seats.lives import shorter


def behind(core: Manager, now: float) -> list[str]:
    """The managers that have not done yet what the present cap asks of them."""
    if core.founders is None:
        return sorted({view.manager for view in core.surplus.unmarked(now)})
    cap, known = UNLIMITED if core.cap is None else core.cap, core.founders.known
    return sorted(
        n for n, account in known.accounts.items() if account.total != cap and n not in known.expelled
    )


def pending(core: Manager, now: float) -> str:
    """What is still to come, for people; empty where cap and `ticket_life` are in force as they were set."""
    names = ", ".join(behind(core, now))
    if core.founders is None:
        count = len(core.surplus.unmarked(now))
        nodes = "1 node is" if count == 1 else f"{count} nodes are"
        return f"{nodes} still to be marked, as over the cap or within it, by {names}" if names else ""
    known = core.founders.known
    lives = [line for name in sorted(known.accounts) if (line := shorter(name, known))]
    return "; ".join(filter(None, [_of_the_cap(core, names), *lives]))


def _of_the_cap(core: Manager, names: str) -> str:
    if names:
        return f"the cap is still to be followed by {names}"
    assert core.founders is not None
    known = core.founders.known
    living = [account for name, account in known.accounts.items() if name not in known.expelled]
    count = sum(max(0, account.spent - account.rights) for account in living) - core.registry.over
    return f"{_beyond(count)} to be told, by the next renewal of each ticket" if count > 0 else ""


def _beyond(count: int) -> str:
    return "1 node beyond the cap is still" if count == 1 else f"{count} nodes beyond the cap are still"
