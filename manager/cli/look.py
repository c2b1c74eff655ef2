"""Verbs that look closer: what happens, round trips, why a node is in its state."""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from manager.cli.client import ClientError, follow, request
from manager.cli.node import find, gateway_in_trouble
from manager.cli.output import in_colour
from manager.cli.tables import pairs, printable, table
from manager.cli.values import positive
from manager.seats.refusals import FULL

_EVENTS = ("at", "kind", "name", "before", "state", "why", "by")
_TRIPS = ("from", "to", "state", "round_trip", "accused_by")
_TRAFFIC = ("name", "requests/s", "errors/s", "errors", "p50", "p95", "p99")
_TOP = ("name", "id", "requests", "errors", "cpu", "memory")
_TOP_SECONDS = 90
_TIMES = ("p50", "p95", "p99")
_NO_EVENTS = "nothing has happened since this manager's start"
_NO_TRAFFIC = (
    "no gateway has told of requests in the last minute: `gateway.stats` or `gateway.access_log` in its "
    "node's service.yml lets it"
)

NEXT = {
    "active": "It reports to its manager. Nothing is to be done.",
    "unreachable": "It keeps its seat for the grace (nodes.grace), then it is down. "
    "Look at its host and its network.",
    "down": "It has lost its seat, and gets one when it returns and one is free. Look at its host.",
    "removed": "It ended. Its seat is held for the rejoin window (nodes.rejoin_window), then free.",
    "refused": "It tries again by itself.",
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
    """Add `monitor`, `events`, `rtt`, `explain` and `stats`."""

    def plain(
        columns: tuple[str, ...],
        ask: Callable[[argparse.Namespace], list[dict[str, Any]]],
        cells: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        nothing: str = "",
    ) -> Action:
        """Programs get what `ask` gives; people see the `cells` of it, or `nothing`."""

        def action(options: argparse.Namespace) -> str:
            rows = ask(options)
            cut = [*map(cells, rows)]
            text: str = shown(options, rows, lambda: table(cut, columns, colour=in_colour(), nothing=nothing))
            return text

        return action

    events = verb(
        verbs,
        "events",
        "what happened last, as this manager saw it",
        plain(_EVENTS, _events, nothing=_NO_EVENTS),
    )
    events.add_argument("--limit", type=positive, default=50, help="how many, the newest; default: 50")
    verb(verbs, "monitor", "events as they happen, until Ctrl-C", _monitor)
    verb(
        verbs,
        "rtt",
        "how long each manager waits for the others' answers",
        plain(_TRIPS, _trips, _trip_cells, "no manager knows another one"),
    )

    def looked(options: argparse.Namespace) -> str:
        if options.by is None:
            return plain(_TOP, _top, _top_cells, "no node has reported in the last minute")(options)
        columns = _TRAFFIC if options.by != "node" else ("id", *_TRAFFIC)
        return plain(columns, _traffic, _traffic_cells, _NO_TRAFFIC)(options)

    stats = verb(verbs, "stats", "what nodes did in the last minute", looked)
    stats.add_argument("--top", type=positive, default=20, help="how many, the busiest; default: 20")
    stats.add_argument(
        "--by",
        choices=("node", "endpoint", "backend"),
        help="requests, errors and latencies of each",
    )

    def explain(options: argparse.Namespace) -> str:
        found = _explained(options)
        text: str = shown(options, found, lambda: _explanation(found))
        return text

    one = verb(verbs, "explain", "why a node is in its state, and what comes next", explain)
    one.add_argument("node", metavar="NODE", help="its id or its name")


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
            # Of who is gone it is a memory.
            "round_trip": seen["round_trip"] if seen["state"] in ("alive", "suspect") else None,
            "accused_by": seen["accusers"],
        }
        for name, view in views.items()
        for other, seen in view["sees"].items()
    ]


def _trip_cells(row: dict[str, Any]) -> dict[str, Any]:
    trip = row["round_trip"]
    shown = "-" if trip is None else "< 0.1 ms" if trip < 0.0001 else f"{trip * 1000:.1f} ms"
    return {**row, "round_trip": shown}


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
    top: int = options.top
    return rows[:top]


def _top_cells(row: dict[str, Any]) -> dict[str, str]:
    shown = {
        **row,
        "cpu": f"{row['cpu']:.1%}",
        "memory": f"{row['memory'] / 2**20:.0f} MiB",
    }
    return {key: _short(value) for key, value in shown.items()}


def _traffic(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Of the last minute or two: steps are not divided."""
    names: dict[str, str] = {}
    if options.by == "node":
        nodes = request(options.manager, "GET", "/api/v1/nodes")["nodes"]
        names = {node["id"]: node["name"] for node in nodes}
    rows: list[dict[str, Any]] = []
    since = time.time() - _TOP_SECONDS
    cursor: str | None = ""
    while cursor is not None:
        path = f"/api/v1/stats?by={options.by}&from={since:.0f}&cursor={quote(cursor)}"
        answer = request(options.manager, "GET", path)
        seconds = max(1.0, answer["to"] - answer["from"])
        for name, [figures] in answer["traffic"].items():
            rows.append(_of_traffic(name, names.get(name, name), figures, seconds))
        cursor = answer["next"]
    rows.sort(key=lambda row: (-row["requests/s"], row["name"]))
    top: int = options.top
    return rows[:top]


def _traffic_cells(row: dict[str, Any]) -> dict[str, str]:
    times = {key: _time(row[key]) for key in _TIMES}
    return {key: _short(value) for key, value in {**row, "errors": f"{row['errors']:.1%}", **times}.items()}


def _of_traffic(id_: str, name: str, figures: dict[str, Any], seconds: float) -> dict[str, Any]:
    part = figures["errors"] / figures["requests"] if figures["requests"] else 0.0
    times = {key: figures[key] for key in _TIMES}
    return {
        "id": id_,
        "name": name,
        "requests/s": figures["requests"] / seconds,
        "errors/s": figures["errors"] / seconds,
        "errors": part,
        **times,
    }


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


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
        "memory": memory,
    }


def _short(value: object) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


# Why


def _explained(options: argparse.Namespace) -> dict[str, Any]:
    node = find(options.manager, options.node)
    events = request(options.manager, "GET", f"/api/v1/events?limit=20&subject={quote(node['id'])}")["events"]
    advice = NEXT[node["state"]]
    if node["state"] == "refused" and node["why"] == FULL:
        advice += " Raise the cap by `kcm subscription set --max-nodes N`, or end another node."
    if node["over_limit"] and node["state"] == "active":
        advice = (
            "It runs without a seat, and falls to the free limits when its margin (subscription.margin) ends."
        )
    if node["state"] == "active" and node["service"] != "in service":
        advice = SERVICE[node["service"]]
    elif gateway_in_trouble(node):
        advice = (
            "It reports to its manager, but its gateway is not well: look at the gateway's log on its host."
        )
    if node["order"] is not None:
        advice += f" It is asked to {node['order']['action']}, by {node['order']['by']}: it waits for "
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
