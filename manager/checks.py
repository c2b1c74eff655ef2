"""A manager's checks of itself: its address, its peers' names, its key, its certificate."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

GOOD, ODD, BAD = "good", "odd", "bad"
"""`odd` is what may be meant so."""
RECENT_SECONDS = 300.0
"""What was dropped longer ago, and not again, is amiss no longer."""
_LATELY = f"the last within {RECENT_SECONDS / 60:g} min"
_DAYS_LEFT = 14
_UNREAD = ("undecryptable", "plaintext", "encrypted", "error_answered", "label")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the shell has found out."""

    advertise: str
    """The gossip address that others are told."""
    is_own: bool
    """Whether this host has that address."""
    itself: str
    """Why this manager is not reached there from its own host; empty where it is."""
    peers: Mapping[str, tuple[str, ...]]
    """The addresses that each configured peer stands for now."""
    unmet: Collection[str]
    """Those of the peers at which nobody answers who is, or was, a member."""
    has_key: bool
    rejected: Mapping[tuple[str, str], int]
    """What was dropped within `RECENT_SECONDS`: (where, reason) → how often since the start."""
    days_left: float | None
    """Of the certificate; None where there is none."""
    unfit: str
    """Why those who connect to this manager do not believe its certificate; empty where they do."""


def rows(facts: Facts) -> Iterator[dict[str, str]]:
    """Each check with its verdict, and what to do."""
    yield _address(facts)
    yield from (_name(peer, found, peer in facts.unmet) for peer, found in facts.peers.items())
    yield _key(facts)
    if strangers := facts.rejected.get(("gossip", "other_group"), 0):
        why = f"what managers of another group say is dropped: {strangers} since the start, {_LATELY}"
        yield row("group", ODD, f"{why}. The log says whom; compare group.name there and here")
    if unbelieved := facts.rejected.get(("tls", "peer_not_believed"), 0):
        why = f"{unbelieved} times another manager's certificate was not believed here"
        yield row(
            "certificate", BAD, f"{why}: `kcm doctor` there says why; compare tls.ca and tls.server_name"
        )
    if failed := sum(facts.rejected.get((where, "tls_handshake"), 0) for where in ("node", "http")):
        why = f"TLS handshakes fail here: {failed} since the start, {_LATELY}"
        yield row("TLS", ODD, f"{why}. The log says with whom, and what to do")
    if facts.days_left is not None:
        days = f"the certificate lasts {facts.days_left:.0f} days"
        short = facts.days_left < _DAYS_LEFT
        if facts.unfit:
            yield row("certificate", BAD, facts.unfit)
        if short or not facts.unfit:
            yield row("certificate", BAD if short else GOOD, f"{days}: replace tls.cert" if short else days)


def row(check: str, verdict: str, what: str) -> dict[str, str]:
    """One line of `kcm doctor`."""
    return {"check": check, "verdict": verdict, "what": what}


def _address(facts: Facts) -> dict[str, str]:
    where = f"others are told to reach this manager at {facts.advertise}"
    if facts.itself and facts.is_own:
        return row("address", BAD, f"{where}, and it does not reach itself there: {facts.itself}")
    if not facts.is_own:
        reached = f" ({facts.itself})" if facts.itself else ""
        return row(
            "address",
            ODD,
            f"{where}, which is no address of its host{reached}: right behind NAT that forwards UDP and TCP, "
            "else give the host's own by `advertise`",
        )
    return row("address", GOOD, where)


def _name(peer: str, found: tuple[str, ...], unmet: bool) -> dict[str, str]:
    if found and unmet:
        return row(
            "peers",
            BAD,
            f"{peer} stands for {', '.join(found)}, where no manager answers: start one there, or compare "
            "gossip.key and gossip.label there and here; the log says why",
        )
    if found:
        return row("peers", GOOD, f"{peer} stands for {', '.join(found)}")
    return row(
        "peers",
        BAD,
        f"{peer} is not known to this host's resolver: correct it in `peers`, or look at /etc/resolv.conf",
    )


def _key(facts: Facts) -> dict[str, str]:
    unread = sum(facts.rejected.get(("gossip", reason), 0) for reason in _UNREAD)
    if unread:
        return row(
            "key",
            BAD,
            f"what comes under another key or label, or without, is dropped: {unread} since the start, "
            f"{_LATELY}. The log says from whom; compare gossip.key and gossip.label there",
        )
    if not facts.has_key:
        return row("key", ODD, "no gossip.key: who reaches the gossip port may join; `kcm init` makes one")
    return row("key", GOOD, "all that came was under a key of this manager")
