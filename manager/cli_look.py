"""Verbs that look closer: what happens, round trips, why a node is in its state, what is amiss."""

import argparse
import json
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from manager.cli_node import find
from manager.client import ClientError, follow, head, request
from manager.output import in_colour
from manager.tables import pairs, printable, table

_EVENTS = ("at", "kind", "name", "before", "state", "why", "by")
_TRIPS = ("from", "to", "state", "round_trip", "accused_by")
_TOP = ("name", "id", "requests", "errors", "cpu", "memory")
_CHECKS = ("check", "verdict", "what")
_TOP_SECONDS = 90
_CLOCK_TOLERATED = 2.0
_REACH_SECONDS = 2.0

NEXT = {
    "active": "It reports to its manager. Nothing is to be done.",
    "unreachable": "It keeps its seat for the grace (nodes.grace), then it is down. "
    "Look at its host and its network.",
    "down": "It has lost its seat, and gets one when it returns and one is free. Look at its host.",
    "removed": "It ended. Its seat is held for the rejoin window (nodes.rejoin_window), then free.",
    "refused": "It tries again by itself. Raise the cap by `kcm subscription set --max-nodes N`, "
    "or end another node.",
}

SERVICE = {
    "cordoned": "It gets no traffic by an operator's order. `kcm node uncordon` puts it back.",
    "draining": "It gets no new traffic by an operator's order, and is drained soon.",
    "drained": "It gets no traffic by an operator's order, and may be stopped. "
    "`kcm node uncordon` puts it back.",
    "restarting": "Its gateway is restarted by an operator's order, and is back when it is well.",
}

Action = Callable[[argparse.Namespace], str]


def add_verbs(verbs: Any, verb: Any, shown: Any) -> None:
    """Add `monitor`, `events`, `rtt`, `explain`, `doctor` and `stats`."""

    def plain(columns: tuple[str, ...], ask: Callable[[argparse.Namespace], list[dict[str, Any]]]) -> Action:
        def action(options: argparse.Namespace) -> str:
            rows = ask(options)
            text: str = shown(options, rows, lambda: table(rows, columns, colour=in_colour()))
            return text

        return action

    events = verb(verbs, "events", "what happened last, as this manager saw it", plain(_EVENTS, _events))
    events.add_argument("--limit", type=int, default=50, help="so many, the newest; default: 50")
    verb(verbs, "monitor", "what happens, while it happens, until Ctrl-C", _monitor)
    verb(verbs, "rtt", "how long each manager waits for the others' answers", plain(_TRIPS, _trips))
    stats = verb(verbs, "stats", "what nodes did in the last minute", plain(_TOP, _top))
    stats.add_argument("--top", type=int, default=20, help="the busiest so many; default: 20")

    def explain(options: argparse.Namespace) -> str:
        found = _explained(options)
        text: str = shown(options, found, lambda: _explanation(found))
        return text

    one = verb(verbs, "explain", "why a node is in its state, and what comes next", explain)
    one.add_argument("node", metavar="NODE", help="its id or its name")

    def doctor(options: argparse.Namespace) -> str:
        rows = list(_examined(options.manager))
        text: str = shown(options, rows, lambda: table(rows, _CHECKS, colour=in_colour()))
        if any(row["verdict"] == "bad" for row in rows):
            print(text, flush=True)
            raise ClientError("not all is well: see the lines that say bad")
        return text

    verb(verbs, "doctor", "look for what is amiss with manager, group and network", doctor)


def _events(options: argparse.Namespace) -> list[dict[str, Any]]:
    answer = request(options.manager, "GET", f"/api/v1/events?limit={options.limit}")
    return list(reversed(answer["events"]))


def _monitor(options: argparse.Namespace) -> str:
    for event in follow(options.manager):
        if options.output == "json":
            print(json.dumps(event), flush=True)
        else:
            before = f" (was {event['before']})" if event["before"] else ""
            state = event["state"] or "no longer listed"
            line = f"{event['kind']} {event['name'] or event['subject']} {state}{before}: {event['why']}"
            print(printable(f"{event['at']} {line}"), flush=True)
    raise ClientError("the manager ended the stream: ask another one")


def _trips(options: argparse.Namespace) -> list[dict[str, Any]]:
    views = request(options.manager, "GET", "/api/v1/group")["views"]
    return [
        {
            "from": name,
            "to": other,
            "state": seen["state"],
            "round_trip": "-" if seen["round_trip"] is None else f"{seen['round_trip'] * 1000:.1f} ms",
            "accused_by": ", ".join(seen["accusers"]) or "-",
        }
        for name, view in views.items()
        for other, seen in view["sees"].items()
    ]


def _top(options: argparse.Namespace) -> list[dict[str, Any]]:
    names = {node["id"]: node["name"] for node in request(options.manager, "GET", "/api/v1/nodes")["nodes"]}
    found: dict[str, list[dict[str, Any]]] = {}
    since = time.time() - _TOP_SECONDS
    cursor: str | None = ""
    while cursor is not None:
        path = f"/api/v1/stats?from={since:.0f}&cursor={quote(cursor)}"
        answer = request(options.manager, "GET", path)
        found |= answer["nodes"]
        cursor = answer["next"]
    rows = [_rates(id_, names.get(id_, "-"), steps) for id_, steps in found.items()]
    rows.sort(key=lambda row: (-(row["requests"] or 0), -row["cpu"], row["id"]))
    return [{key: _short(value) for key, value in row.items()} for row in rows[: options.top]]


def _rates(id_: str, name: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Per second between the first and the last step of the node's present run."""
    steps = [step for step in steps if step["nonce"] == steps[-1]["nonce"]]
    before: dict[str, float] = steps[0]["counters"] if steps else {}
    now: dict[str, float] = steps[-1]["counters"] if steps else {}
    seconds = steps[-1]["at"] - steps[0]["at"] if steps else 0.0

    def grown(counter: str) -> float | None:
        if counter not in now or not seconds:
            return None
        return max(0.0, now[counter] - before.get(counter, 0.0)) / float(seconds)

    cpu = (grown("gateway_cpu_seconds") or 0.0) + (grown("agent_cpu_seconds") or 0.0)
    memory = now.get("gateway_rss_bytes", 0.0) + now.get("agent_rss_bytes", 0.0)
    return {
        "name": name,
        "id": id_,
        "requests": grown("gateway_requests"),
        "errors": grown("gateway_errors"),
        "cpu": cpu,
        "memory": f"{memory / 2**20:.0f} MiB",
    }


def _short(value: object) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


# Why


def _explained(options: argparse.Namespace) -> dict[str, Any]:
    node = find(options.manager, options.node)
    events = request(options.manager, "GET", f"/api/v1/events?limit=20&subject={quote(node['id'])}")["events"]
    advice = NEXT[node["state"]]
    if node["over_limit"] and node["state"] == "active":
        advice = (
            "It runs without a seat, and falls to the free limits when its margin (subscription.margin) ends."
        )
    if node["state"] == "active" and node["service"] != "in service":
        advice = SERVICE[node["service"]]
    if node["order"] is not None:
        advice += f" It is to {node['order']['action']}, by {node['order']['by']}: it waits for "
        advice += f"{node['order']['waits_for']}."
    return {"node": node, "next": advice, "events": list(reversed(events))}


def _explanation(found: dict[str, Any]) -> str:
    node = {
        key: found["node"][key]
        for key in ("id", "name", "state", "service", "since", "why", "manager", "gateway")
    }
    columns = ("at", "kind", "state", "why", "by")
    past = table(found["events"], columns, colour=in_colour()) if found["events"] else ""
    return "\n\n".join(part for part in (pairs(node), found["next"], past) if part)


# What is amiss


def _examined(manager: str) -> Iterator[dict[str, str]]:
    """Each check with its verdict: good, bad, or odd where it may be meant so."""
    info = request(manager, "GET", "/api/v1/info")
    yield _row("manager", True, f"{info['name']} of group {info['group']} answers, version {info['version']}")
    fresh = "has just started and does not know the group yet" if info["fresh"] else "knows the group"
    yield _row("ready", not info["fresh"] and not info["going"], "is leaving" if info["going"] else fresh)
    alive, known = info["managers"]["alive"], info["managers"]["known"]
    yield _row("managers", alive == known, f"{alive} of {known} are alive here")
    members = request(manager, "GET", "/api/v1/members")["members"]
    group = request(manager, "GET", "/api/v1/group")
    yield from _links(group)
    for member in members:
        if member["name"] != info["name"] and member["state"] in ("alive", "suspect", "dead"):
            yield _reached(member)
            if member["kind"] == "manager" and member["state"] == "alive":
                yield _clock(manager, member)
    yield _clock(manager, None)
    late = [
        f"{name} of {owner}"
        for name, view in group["views"].items()
        for owner, version in view["copies"].items()
        if owner in group["views"] and version + 100 < group["views"][owner]["page"]
    ]
    yield _row(
        "pages", not late, f"far behind: {', '.join(late)}" if late else "managers have each other's news"
    )
    seats = request(manager, "GET", "/api/v1/subscription")
    cap = "any number of" if seats["max_nodes"] is None else seats["max_nodes"]
    text = f"{seats['used']} of {cap} seats are used, {seats['refused']} nodes wait"
    yield _row("seats", not seats["refused"] and not seats["over_limit"], text, "odd")


def _links(group: dict[str, Any]) -> Iterator[dict[str, str]]:
    asked, answered = group["managers"]["asked"], group["managers"]["answered"]
    yield _row("HTTP", asked == answered, f"{answered} of {asked} managers answer each other over TCP")
    silent = [
        f"{name} to {other}"
        for name, view in group["views"].items()
        for other, seen in view["sees"].items()
        if seen["state"] == "alive" and seen["round_trip"] is None
    ]
    text = f"no answer yet: {', '.join(silent)}; is UDP let through?" if silent else "pings are answered"
    yield _row("UDP", not silent, text, "odd")


def _reached(member: dict[str, Any]) -> dict[str, str]:
    address = urlsplit(f"//{member['address']}")
    try:
        with socket.create_connection((address.hostname or "", address.port or 0), _REACH_SECONDS):
            pass
    except OSError as error:
        text = f"{member['name']} at {member['address']} is not reached from here: {error}"
        return _row("gossip TCP", False, text)
    return _row("gossip TCP", True, f"{member['name']} at {member['address']} is reached from here")


def _clock(manager: str, member: dict[str, Any] | None) -> dict[str, str]:
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
        return _row("clock", False, f"that of {name} is not known: {error}", "odd")
    off = shown - time.time()
    good = abs(off) <= _CLOCK_TOLERATED
    return _row("clock", good, f"that of {name} differs by {off:+.0f} s from this host's")


def _row(check: str, good: bool, what: str, otherwise: str = "bad") -> dict[str, str]:
    return {"check": check, "verdict": "good" if good else otherwise, "what": what}
