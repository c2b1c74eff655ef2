"""`kcm join`, `force-leave` and `reachability`: who belongs to the group, as Serf's users know it."""

import argparse
from collections.abc import Callable
from typing import Any

from manager.cli.client import ClientError, request
from manager.cli.output import in_colour
from manager.cli.tables import table

SECONDS_MAX = 15.0
"""Whoever is not reached is waited for."""
_REACHED = ("from", "to", "state", "udp", "tcp", "why")


def add_verbs(verbs: Any, verb: Callable[..., Any], shown: Callable[..., str]) -> None:
    """Add them; `verb` makes one, `shown` prints an answer as JSON or as the given text."""

    def join(options: argparse.Namespace) -> str:
        body = {"peers": options.peers}
        answer = request(options.manager, "POST", "/api/v1/join", body, seconds=SECONDS_MAX)
        return shown(options, answer, lambda: _joined(answer))

    def force_leave(options: argparse.Namespace) -> str:
        body = {"name": options.name, "prune": options.prune}
        answer = request(options.manager, "POST", "/api/v1/force-leave", body)
        word = "is no longer listed" if options.prune else "has left, and is not expected back"
        return shown(options, answer, lambda: f"{options.name} {word}")

    def reachability(options: argparse.Namespace) -> str:
        answer = request(options.manager, "GET", "/api/v1/reachability", seconds=SECONDS_MAX)
        text = shown(options, answer, lambda: _reached(answer))
        incomplete = answer["managers"]["asked"] > answer["managers"]["answered"]
        if answer["silent"] or answer["findings"] or incomplete:
            print(text, flush=True)
            raise ClientError("not everybody answers")
        return text

    meet = verb(verbs, "join", "let this manager meet others, by the address of any of them", join)
    meet.add_argument("peers", metavar="HOST[:PORT]", nargs="+", help="a gossip address; default port: 7946")
    text = "a dead manager or agent has left, and is not expected back"
    gone = verb(verbs, "force-leave", text, force_leave)
    gone.add_argument("name", metavar="NAME", help="as `kcm members` lists it")
    gone.add_argument("--prune", action="store_true", help="and take it off the list of members")
    verb(verbs, "reachability", "ask every member for an answer, from every manager", reachability)


def _joined(answer: dict[str, Any]) -> str:
    reached = answer["reached"]
    lines = [f"reached {len(reached)} member{'s' * (len(reached) != 1)}: {', '.join(reached)}"]
    lines += [f"{one['address']}: {one['why']}" for one in answer["tried"] if one["why"]]
    return "\n".join(lines)


def _reached(answer: dict[str, Any]) -> str:
    rows = [
        {
            "from": viewer,
            "to": member["name"],
            "state": member["state"],
            "udp": _trip(member["udp"]),
            "tcp": _trip(member["tcp"]),
            "why": member["why"],
        }
        for viewer, view in answer["views"].items()
        for member in view["members"]
    ]
    asked, answered = answer["managers"]["asked"], answer["managers"]["answered"]
    lines = [table(rows, _REACHED, colour=in_colour())] if rows else ["this manager knows nobody else"]
    if asked > answered:
        silent = f"{asked - answered} of {asked} managers did not say whom they reach"
        lines.append(f"{silent}: is their HTTP port let through?")
    found = [one["what"] for one in answer["findings"]]
    return "\n".join([*lines, *(found or ["everybody who should answer does"] * bool(rows))])


def _trip(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
