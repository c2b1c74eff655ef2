"""May the next step with a key be taken, and has it been? From what each member said that it has."""

from collections.abc import Iterable, Mapping

from gossip.key_messages import Verb
from gossip.messages import NodeName

Found = Mapping[NodeName, tuple[str, ...]]
"""The fingerprints of each member's keys, the one in use first."""

NOTHING_CHANGED = "nothing was changed"


def before(verb: Verb, key: str, found: Found, missing: Mapping[str, str]) -> str:
    """Why `key` (a fingerprint) cannot be used or removed now, and what to do; empty where it can.

    Whoever lacks a key that others use is locked out, and so is who still uses one that others removed. That
    goes for members that are away as well: they come back with the keys that they had.
    """
    if verb is Verb.USE and (lacking := _named(name for name, keys in found.items() if key not in keys)):
        return f"{lacking} {_has(lacking)} not the key {key}: install it first, there too; {NOTHING_CHANGED}"
    if verb is Verb.REMOVE and (using := _named(name for name, keys in found.items() if keys[:1] == (key,))):
        return f"the key {key} is in use on {using}: use another one first; {NOTHING_CHANGED}"
    if missing:
        return (
            f"not known of which keys these have: {reasons(missing)}. Bring them back (an agent that is "
            "dead: `kcm force-leave NAME`), or name who never comes back, and is locked out if it does, "
            f"by --without NAME; {NOTHING_CHANGED}"
        )
    return ""


def result(
    verb: Verb, key: str, found: Found, missing: Mapping[str, str], refusals: Mapping[NodeName, str]
) -> str:
    """What is not as it was wanted after a change, and what to do; empty where all is."""
    match verb:
        case Verb.INSTALL:
            undone = {name for name, keys in found.items() if key not in keys}
            done, then = "installed", "until then it cannot be used"
        case Verb.USE:
            undone = {name for name, keys in found.items() if keys[:1] != (key,)}
            done, then = "in use", "until then both keys are needed"
        case _:
            undone = {name for name, keys in found.items() if key in keys}
            done, then = "removed", "until then it opens what comes to them"
    why = {name: refusals.get(name, "says so") for name in undone} | dict(missing)
    if not why:
        return ""
    return f"the key {key} is {done}, but not on these: {reasons(why)}. Repeat it when they answer; {then}"


def reasons(why: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({text})" for name, text in sorted(why.items()))


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _has(names: str) -> str:
    return "have" if ", " in names else "has"
