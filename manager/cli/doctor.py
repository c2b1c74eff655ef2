"""`kcm doctor`: what is amiss with the manager, its host, the group and the network, and what to do."""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from manager.checks import BAD, GOOD, ODD, row
from manager.cli.client import ClientError, NoManager, head, request
from manager.cli.node import gateway_in_trouble
from manager.cli.output import in_colour
from manager.cli.tables import table

GONE = "gone?"
GONE_AFTER = 600.0
"""Dead for longer than a host needs to start again: somebody should say whether it comes back."""
_CHECKS = ("check", "verdict", "what")
_CLOCK_TOLERATED = 2.0
_REACH_SECONDS_MAX = 15.0
_REFUSED = "connection refused"
"""Said by a host that runs, of a port where nothing listens: no network in between is cut."""

Row = dict[str, str]


def add_verb(verbs: Any, verb: Callable[..., Any], shown: Callable[..., str]) -> None:
    """Add it; `verb` makes one, `shown` prints an answer as JSON or as the given text."""

    def doctor(options: argparse.Namespace) -> str:
        missing: NoManager | None = None
        try:
            rows = list(_examined(options.manager))
        except NoManager as error:
            if not _is_here(options.manager):
                raise
            missing, rows = error, list(_not_running(options.manager))
        text = shown(options, rows, lambda: table(rows, _CHECKS, colour=in_colour()))
        amiss = sorted({row["verdict"] for row in rows} & {BAD, GONE})
        if missing is not None or amiss:
            print(text, flush=True)
            raise missing or ClientError(f"not all is well: see the lines that say {' or '.join(amiss)}")
        return text

    verb(verbs, "doctor", "look for what is amiss with manager, group and network", doctor)


def _is_here(manager: str) -> bool:
    host = urlsplit(manager).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


# Where a manager answers


def _examined(manager: str) -> Iterator[Row]:
    info = request(manager, "GET", "/api/v1/info")
    yield row("manager", GOOD, f"{info['name']} of group {info['group']} answers, version {info['version']}")
    fresh = "has just started and does not know the group yet" if info["fresh"] else "knows the group"
    ready = not info["fresh"] and not info["going"]
    yield row("ready", GOOD if ready else BAD, "is leaving" if info["going"] else fresh)
    if _is_here(manager):
        yield from _held(_places_of(manager, info))
    yield from request(manager, "GET", "/api/v1/checks", seconds=_REACH_SECONDS_MAX)["checks"]
    members = request(manager, "GET", "/api/v1/members")["members"]
    reached = request(manager, "GET", "/api/v1/reachability", seconds=_REACH_SECONDS_MAX)
    yield from _members(members, time.time(), _silences(reached), info["nodes"]["connected"])
    yield from _aside(members, info["name"])
    yield from _reached(reached)
    yield _clock(manager, None)
    for member in members:
        if member["name"] != info["name"] and (member["kind"], member["state"]) == ("manager", "alive"):
            yield _clock(manager, member)
    yield _pages(request(manager, "GET", "/api/v1/group")["views"])
    seats = request(manager, "GET", "/api/v1/subscription")
    cap = "any number of" if seats["cap"] is None else seats["cap"]
    text = f"{seats['used']} of {cap} seats are used, {seats['refused']} nodes wait"
    if seats["over_limit"]:
        text += f", {seats['over_limit']} run over the limit (`kcm subscription show`)"
    if seats["refused"] and seats["refusal"]:
        text += f": {seats['refusal']}"
    yield row("seats", ODD if seats["refused"] or seats["over_limit"] else GOOD, text)
    yield from _rollouts(request(manager, "GET", "/api/v1/config")["configs"])
    for node in filter(gateway_in_trouble, request(manager, "GET", "/api/v1/nodes")["nodes"]):
        what = f"{node['name']} says {node['gateway']}: `kcm explain {node['id']}`, and the log on its host"
        yield row("gateway", BAD, what)


def _aside(members: list[dict[str, Any]], asked: str) -> Iterator[Row]:
    """Whether the others hear too little of the manager `asked`, as it says itself."""
    if any(member["name"] == asked and member["state"] == "suspect" for member in members):
        todo = "see to its host's network, most of what it sends is lost; it comes back by itself"
        yield row("members", BAD, f"the others hear too little of {asked} and take it for dead: {todo}")


def _silences(reached: dict[str, Any]) -> dict[str, set[str]]:
    """Why managers had no answer of a member, by its name."""
    silences: dict[str, set[str]] = {}
    for view in reached["views"].values():
        for member in view["members"]:
            if member["udp"] is None and member["tcp"] is None:
                silences.setdefault(member["name"], set()).add(member["why"])
    return silences


def _alone(dead: list[str], silences: dict[str, set[str]], connected: int) -> str:
    """What it may mean that a manager sees no other one, of whom those are dead."""
    ended = [name for name in dead if _REFUSED in silences.get(name, ())]
    if ended:
        how = (
            "does not run, its host answers: start it"
            if len(ended) == 1
            else ("do not run, their hosts answer: start them")
        )
        return f"this manager sees no other that runs, and is not cut off. {', '.join(ended)} {how}"
    if connected:
        nodes = f"{connected} node{'s are' if connected > 1 else ' is'} connected here"
        return (
            f"this manager has no answer of any other. {nodes}, so this host is not cut off from all: are "
            "the others' hosts down, or is the network between managers cut? See what `kcm doctor` says there"
        )
    return (
        "this manager has no answer of any other, and no node is connected here: is this host itself cut off "
        "(cable, route, firewall)? See what `kcm doctor` says at the others"
    )


def _members(
    members: list[dict[str, Any]], now: float, silences: dict[str, set[str]], connected: int
) -> Iterator[Row]:
    """Who is dead, for how long; the others in one line. `connected`: so many nodes are, here."""
    alive = sum(member["state"] == "alive" for member in members)
    managers = [member for member in members if member["kind"] == "manager" and member["state"] != "left"]
    dead = [member["name"] for member in managers if member["state"] == "dead"]
    what = f"{alive} of {len(members)} are alive here"
    if dead and len(managers) - len(dead) == 1:
        yield row("members", BAD, f"{what}: {_alone(dead, silences, connected)}")
    else:
        yield row("members", GOOD, what)
    for member in members:
        if member["state"] == "dead":
            seconds = now - datetime.fromisoformat(member["since"]).timestamp()
            name, since = member["name"], f"dead since {member['since']}"
            if seconds >= GONE_AFTER:
                yield row(
                    "members", GONE, f"{name} is {since}: `kcm force-leave {name}` if it does not come back"
                )
            else:
                where = f"{name} at {member['address']}"
                todo = f"{_look(silences.get(name, set()))}; if it is gone for good, `kcm force-leave {name}`"
                yield row("members", BAD, f"{where} is {since}: {todo}")


def _look(why: set[str]) -> str:
    """What to do about a member that is dead."""
    if _REFUSED in why:
        return "its host answers, and nothing listens there: start it"
    asked = f" ({', '.join(sorted(why))})" if why else ""
    return f"look at its host{asked}"


def _rollouts(configs: list[dict[str, Any]]) -> Iterator[Row]:
    """Those that stand still, and would do so for ever."""
    for rollout in configs:
        if rollout["conductor_gone"]:
            what = f"{rollout['kind']} version {rollout['version']}: {rollout['waits_for']}"
            yield row("rollout", BAD, what)


def _reached(answer: dict[str, Any]) -> Iterator[Row]:
    asked, answered = answer["managers"]["asked"], answer["managers"]["answered"]
    what = f"{answered} of {asked} managers answer each other"
    todo = (
        ""
        if asked == answered
        else ": let TCP to their HTTP port through, and with TLS give all the same tls.ca"
    )
    yield row("HTTP", BAD if todo else GOOD, what + todo)
    for found in answer["findings"]:
        # Who is dead has its line already.
        if found["check"] != "gone":
            yield row(found["check"], BAD, found["what"])
    for check in ("UDP", "TCP"):
        if not any(found["check"] in (check, "UDP, TCP") for found in answer["findings"]):
            yield row(check, GOOD, "every member that runs answers every manager")


def _clock(manager: str, member: dict[str, Any] | None) -> Row:
    """How far a manager's clock is from ours, by the header of an answer."""
    url, name = manager, "this manager"
    if member is not None:
        parts, host = urlsplit(manager), urlsplit(f"//{member['address']}").hostname or ""
        url, name = (
            f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or 80}",
            member["name"],
        )
    try:
        shown = parsedate_to_datetime(head(url, "/health")["date"]).timestamp()
    except (ClientError, KeyError, TypeError, ValueError) as error:
        return row("clock", ODD, f"that of {name} is not known: {error}")
    # The header has whole seconds: on average half a second is lost.
    off = shown + 0.5 - time.time()
    if abs(off) <= 1.0:
        return row("clock", GOOD, f"that of {name} agrees with this host's to the second")
    what = f"that of {name} differs by {round(off):+d} s from this host's"
    if abs(off) <= _CLOCK_TOLERATED:
        return row("clock", GOOD, what)
    return row("clock", BAD, f"{what}: let both follow one time server (chrony, systemd-timesyncd)")


def _pages(views: dict[str, Any]) -> Row:
    late = [
        f"{name} of {owner}"
        for name, view in views.items()
        for owner, version in view["copies"].items()
        if owner in views and version + 100 < views[owner]["page"]
    ]
    what = f"far behind: {', '.join(late)}" if late else "managers have each other's news"
    return row("pages", BAD if late else GOOD, what)


# This host


@dataclass(frozen=True, slots=True)
class _Place:
    """A port that a manager listens on; `key` names it in its configuration."""

    key: str
    kind: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.kind.upper()} {self.port}"


def _places(node: tuple[str, int], gossip: tuple[str, int], http: tuple[str, int]) -> list[_Place]:
    return [
        _Place("node_port", "tcp", *node),
        _Place("gossip_port", "tcp", *gossip),
        _Place("gossip_port", "udp", *gossip),
        _Place("http_port", "tcp", *http),
    ]


def _places_of(manager: str, info: dict[str, Any]) -> list[_Place]:
    """Where the manager that said `info` at `manager` listens."""

    def parts(url: str) -> tuple[str, int]:
        found = urlsplit(url)
        host = found.hostname or ""
        return "" if host == "localhost" else host, found.port or 80

    return _places(parts(f"//{info['seed']}"), parts(f"//{info['address']}"), parts(manager))


def _held(places: list[_Place]) -> Iterator[Row]:
    """Whether one process has them all: another program may share one, or stand in its place."""
    # Loaded only here, as what follows: it takes longer to load than a verb to answer.
    from manager.ports import UNSEEN, holder

    # Where it is told to others under an address that its host has not, any counts.
    held = {
        place: holder(place.kind, place.port, place.host) or holder(place.kind, place.port)
        for place in places
    }
    holders = {str(found or "nobody on this host") for found in held.values()}
    if UNSEEN in held.values():
        yield row("ports", ODD, "another user's process holds them: only root sees which")
    elif len(holders) == 1 and None not in held.values():
        yield row("ports", GOOD, f"{', '.join(map(str, places))} are all held by {holders.pop()}")
    else:
        for place, found in held.items():
            yield row("ports", ODD, f"{place} is held by {found or 'nobody on this host'}")


def _not_running(manager: str) -> Iterator[Row]:
    """Why no manager runs on this host: what its start would trip over."""
    import asyncio

    from manager.ports import UNSEEN, holder
    from manager.process import examine, load_as_started
    from node.settings import SettingsError

    yield row("manager", BAD, f"none answers at {manager}")
    try:
        file = load_as_started()
    except SettingsError as error:
        yield row("configuration", BAD, str(error))
        return
    bind = file.bind
    for place in _places((bind, file.node_port), (bind, file.gossip_port), (bind, file.http_port)):
        found = holder(place.kind, place.port, place.host)
        if found is None:
            yield row("ports", GOOD, f"{place} is free")
        elif str(found).startswith("krakend-cluster"):
            what = (
                "a manager runs: ask it by --manager at the URL that its log says, https:// where it has TLS"
            )
            yield row("ports", ODD, f"{place} is held by {found}, {what}")
        else:
            what = "run this as root to see which" if found == UNSEEN else "stop it"
            option = "--" + place.key.replace("_", "-")
            yield row("ports", BAD, f"{place} is held by {found}: {what}, or give another by {option}")
    yield from asyncio.run(examine(file))
