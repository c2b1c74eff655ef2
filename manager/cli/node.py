"""`kcm node …`: one gateway node, and what an operator wants of it."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from manager.cli.client import ClientError, WrongUsage, request
from manager.cli.tables import pairs, printable

TIMEOUT = 300.0
_LOOK_EVERY = 0.5
_DONE = {
    "drain": "{name} is drained: it gets no traffic, keeps its seat, and may be stopped; "
    "`kcm node uncordon {name}` puts it back",
    "cordon": "{name} is cordoned: its /ready answers 503, and it keeps its seat; "
    "`kcm node uncordon {name}` puts it back",
    "uncordon": "{name} may get traffic again",
    "restart": "{name} was restarted",
}
_KEPT_OUT = "{name} was restarted, and is {service} as before: `kcm node uncordon {name}` puts it back"


def add_verbs(verbs: Any, verb: Callable[..., Any], shown: Callable[..., str]) -> None:
    """Add `node`; `verb` makes one below it, `shown` prints an answer as JSON or as the given text."""

    def show(options: argparse.Namespace) -> str:
        answer = find(options.manager, options.node)
        return shown(options, answer, lambda: pairs(answer))

    def forget(options: argparse.Namespace) -> str:
        answer = request(options.manager, "DELETE", _path(options.node), {})
        return shown(options, answer, lambda: f"{options.node} is forgotten, and its seat is free")

    def order(action: str) -> Callable[[argparse.Namespace], str]:
        def act(options: argparse.Namespace) -> str:
            answer, text = _order(options, action)
            return shown(options, answer, lambda: text)

        return act

    node = verbs.add_parser("node", help="one gateway node: look at it, take it out of service, restart it")
    what = node.add_subparsers(dest="what", metavar="VERB", required=True)
    for name, text, action in (
        ("show", "what is known of it", show),
        (
            "drain",
            "let it get no traffic, and wait until it has had time to be rid of what it had",
            order("drain"),
        ),
        ("cordon", "let it get no traffic", order("cordon")),
        ("uncordon", "let it get traffic again", order("uncordon")),
        ("restart", "drain it, restart its gateway, put it back: when its turn comes", order("restart")),
    ):
        parser = verb(what, name, text, action)
        parser.add_argument("node", metavar="NODE", help="its id or its name")
        if name != "show":
            parser.add_argument("--no-wait", action="store_true", help="only order it")
            parser.add_argument(
                "--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help=f"default: {TIMEOUT:g}"
            )
    text = "you vouch that it runs nowhere, and will not start again from its state: its seat is free"
    verb(what, "forget", text, forget).add_argument("node", metavar="NODE", help="its id or its name")


_ILL = ("unhealthy", "restarting", "stopped")
"""What a node says of a gateway that is in trouble."""


def gateway_in_trouble(node: dict[str, Any]) -> bool:
    """Whether an active node's gateway is not well, and not by an operator's order."""
    by_order = node["service"] == "restarting"
    return node["state"] == "active" and not by_order and node["gateway"].partition(": ")[2].startswith(_ILL)


def find(manager: str, node: str) -> dict[str, Any]:
    """The node with this id or name. Raises `ClientError`."""
    return request(manager, "GET", _path(node))


def _path(node: str) -> str:
    if not node:
        raise WrongUsage("NODE is empty: name a node by its id or its name")
    return f"/api/v1/nodes/{quote(node, safe='', errors='surrogateescape')}"


def _order(options: argparse.Namespace, action: str) -> tuple[dict[str, Any], str]:
    """The node when it is done, or at once, and what is to be said."""
    node = find(options.manager, options.node)
    path = _path(node["id"])
    given = request(options.manager, "POST", f"{path}/{action}", {})
    node, name = given["node"], options.node
    if options.no_wait:
        return node, f"{name} is asked to {action}{_reason(node)}"
    mark, ends, said = (given["serial"], given["writer"]), time.monotonic() + options.timeout, ""
    while not _is_done(node, mark):
        if node["state"] != "active":
            raise ClientError(
                f"{name} is asked to {action}, but is {node['state']} ({node['why']}): it does so when it is "
                "connected to a manager again. Until then look after it on its host, or take it off your "
                "load balancer"
            )
        if time.monotonic() > ends:
            raise ClientError(
                f"{name} has not come to {action} within {options.timeout:g} s{_reason(node)}. "
                "The order stands; see `kcm node show`, and the log of its agent"
            )
        if (reason := _reason(node)) != said:
            said = reason
            print(printable(f"{name} is asked to {action}{reason}"), file=sys.stderr)
        time.sleep(_LOOK_EVERY)
        node = request(options.manager, "GET", path)
    if node["order_taken"]["note"]:
        raise ClientError(f"{name}: {node['order_taken']['note']}")
    text = _KEPT_OUT if action == "restart" and node["service"] != "in service" else _DONE[action]
    return node, text.format(name=name, service=node["service"])


def _is_done(node: dict[str, Any], mark: tuple[int, str]) -> bool:
    """Whether the node has taken the order of that mark, and is through with it. Raises `ClientError`."""
    taken, pending = node["order_taken"], node["order"]
    newest = max((each["serial"], each["writer"]) for each in (taken, pending or taken))
    if newest > mark:
        raise ClientError(
            f"another order for {node['name'] or node['id']} was given meanwhile, and the newest counts: "
            "see `kcm node show`"
        )
    return (taken["serial"], taken["writer"]) == mark and node["service"] not in ("draining", "restarting")


def _reason(node: dict[str, Any]) -> str:
    if node["order"] is not None:
        return f": it waits for {node['order']['waits_for']}"
    return f": it is {node['service']}"
