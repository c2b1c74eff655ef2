"""How long tickets live, as founders tell each other: in the words of their terms, and in their accounts."""

import re
from dataclasses import replace

from manager.seats.records import pack, unpack
from manager.seats.rights import Account, Known
from node.durations import format_duration

_LIFE = re.compile(r"tickets live ([0-9.e+]+) s\b")


def seat_terms(ticket_life: float, ephemeral_life: float) -> str:
    """What must be alike at all founders."""
    return f"tickets live {ticket_life:g} s, of ephemeral nodes {ephemeral_life:g} s"


def life_in(terms: str) -> float:
    """The longest life that such terms name; 0 where they name none, as only a forger's do."""
    found = _LIFE.search(terms)
    try:
        return float(found[1]) if found else 0.0
    except ValueError:
        return 0.0


def pack_account(account: Account) -> bytes:
    """Lives that are what the terms say are left out, as they all are where nobody has changed them."""
    life = life_in(account.terms)
    given, awaited = account.longest_given, account.longest_awaited
    return pack(
        replace(
            account,
            longest_given=0.0 if given == life else given,
            longest_awaited=0.0 if awaited == life else awaited,
        )
    )


def read_account(value: bytes | None) -> Account | None:
    """What `pack_account` was given; of a page of an earlier version the lives are what its terms say."""
    account = unpack(Account, value)
    if account is None:
        return None
    life = life_in(account.terms)
    return replace(
        account,
        longest_given=account.longest_given or life,
        longest_awaited=account.longest_awaited or life,
    )


def shorter(name: str, known: Known) -> str:
    """That founder `name` gives shorter tickets than its file says, and what ends that; empty where none."""
    account = known.accounts.get(name)
    if account is None or not account.founded or name in known.expelled:
        return ""
    life, given = life_in(account.terms), account.longest_given
    others = [other for other in account.founders if other != name and other not in known.expelled]
    # Terms round what they name, and so does what is compared with them.
    behind = [other for other in others if float(f"{known.awaited_by(other, name):g}") < life]
    if float(f"{given:g}") >= life or not behind:
        return ""
    long, short = format_duration(life), format_duration(given)
    return (
        f"tickets of founder {name} live {short}; they will live {long}, its subscription.ticket_life, "
        f"once that is set at {', '.join(behind)} too, and those are restarted"
    )
