"""Why no founder gives a right, whom that is up to, and what to do: for nodes and for people (S8)."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from manager.seats.rights import Account
from node.protocol import TEXT_MAX

if TYPE_CHECKING:  # `kcm` needs one sentence of this alone
    from manager.seats.founders import Founders

FULL = "Your current subscription does not allow more nodes running. Please upgrade to add more nodes."

OUT_OF_REACH = "out_of_reach"


def refusal(me: str, founders: "Founders", reachable: Collection[str]) -> tuple[str, str]:
    """(code, sentence) for a node that got no ticket at manager `me`."""
    kept: dict[str, list[str]] = {}
    for name in founders.names:
        if name not in founders.known.expelled and (why := keeps(name, founders, reachable)):
            kept.setdefault(why, []).append(name)
    if not kept:
        return "full", FULL
    ways = [_said_once(names, why) for why, names in kept.items()]
    return OUT_OF_REACH, _within_a_frame(
        f"No right to run one more node is within reach of manager {me}: ", ways
    )


def _within_a_frame(begin: str, ways: list[str]) -> str:
    """As many of `ways` as a node can be told; where the others are to be read."""
    for left_out in range(len(ways)):
        more = f"; `kcm group founders` tells {left_out} more" if left_out else ""
        text = f"{begin}{'; '.join(ways[: len(ways) - left_out])}{more}."
        if len(text) <= TEXT_MAX:
            return text
    return f"{text[: TEXT_MAX - 1]}…"


def keeps(name: str, founders: "Founders", reachable: Collection[str]) -> str:
    """What keeps founder `name` from giving rights that it may have; empty where it has simply given all."""
    account = founders.known.accounts.get(name)
    if name not in reachable:
        left = "" if account is None else f", and had {account.room or 'no'} rights left"
        return (
            f"cannot be reached{left}: bring it back, or, if it is gone for good, "
            f"`kcm group founders expel {name}`"
        )
    if account is None:
        return "has not told its rights yet: give it the same policy and group.founders"
    return _keeps(account, founders, founders.met_another(name))


def _said_once(names: list[str], why: str) -> str:
    first, *others = names
    return f"{first} {why}" + (f" (the same goes for {', '.join(others)})" if others else "")


def _keeps(account: Account, founders: "Founders", met_another: Collection[str]) -> str:
    names = ", ".join(sorted(account.waits_for))
    if not account.founded and met_another:
        return (
            f"has lost its state, under which {', '.join(met_another)} met it: put that back; else stop this "
            "manager, expel it, and start one under a name that is no founder's"
        )
    if not account.founded and (others := _with_another_file(account, founders)):
        return (
            f"waits for a yes of {names}: give {', '.join(others)} the same group.founders, ticket_life and "
            "ephemeral_life as this manager"
        )
    if not account.founded:
        return f"waits for a yes of {names}: start them, or expel who never comes"
    if account.barred:
        return (
            "admits nobody for as long as a ticket lives (subscription.ticket_life): its store had gone back "
            "in time"
        )
    if account.waits_for:
        return (
            f"gives nothing before the lowered cap of {account.total} holds, and up to {account.peak} may "
            f"run until then: {_what_keeps_it_from_holding(account, founders)}"
        )
    if account.heir_of and not account.room:
        return f"keeps the rights of {', '.join(account.heir_of)} until the tickets given there are over"
    return ""


def _with_another_file(account: Account, founders: "Founders") -> list[str]:
    """Those whose yes would be to another list, or to other terms (R1)."""
    accounts = {name: founders.known.accounts.get(name) for name in sorted(account.waits_for)}
    return [
        name
        for name, one in accounts.items()
        if one is not None and (one.founders, one.terms) != (account.founders, account.terms)
    ]


def _what_keeps_it_from_holding(account: Account, founders: "Founders") -> str:
    """Who has given more than its part of the lowered cap, or has not said that it follows it (R4)."""
    accounts = founders.known.accounts
    owing = [name for name in sorted(account.waits_for) if name in accounts and accounts[name].owes]
    others = [name for name in sorted(account.waits_for) if name not in owing]
    ways = []
    if owing:
        ways.append(
            f"{', '.join(owing)} gave more than their part of it; stop nodes that are over the limit "
            "(`kcm nodes`), or wait until their margin and tickets are over"
        )
    if others:
        ways.append(f"{', '.join(others)} must follow it as well; see that they run")
    return "; ".join(ways)
