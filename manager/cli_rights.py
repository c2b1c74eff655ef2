"""`kcm group founders` and `kcm node forget`: what an operator vouches for, under policy `strict`."""

import argparse
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from manager.client import request
from manager.tables import table

_FOUNDERS = ("name", "state", "reachable", "rights", "seats", "left", "owes", "why")


def add_verbs(verbs: Any, verb: Callable[..., Any], shown: Callable[..., str]) -> None:
    """Add both; `verb` makes one, `shown` prints an answer as JSON or as the given text."""

    def founders(options: argparse.Namespace) -> str:
        answer = request(options.manager, "GET", "/api/v1/group/founders")
        return shown(options, answer, lambda: _table(answer))

    def expel(options: argparse.Namespace) -> str:
        answer = request(options.manager, "POST", "/api/v1/group/founders/expel", {"name": options.name})
        return shown(options, answer, lambda: _table(answer))

    def forget(options: argparse.Namespace) -> str:
        id_ = quote(options.id, safe="", errors="surrogateescape")
        answer = request(options.manager, "DELETE", f"/api/v1/nodes/{id_}", {})
        return shown(options, answer, lambda: f"{options.id} is forgotten, and its seat is free")

    group = verbs.add_parser("group", help="the founders, over whom the seats are divided")
    more = group.add_subparsers(dest="what", metavar="VERB", required=True)
    listing = verb(more, "founders", "the founders, and what each may give; or expel one", founders)
    which = listing.add_subparsers(dest="which", metavar="expel")
    gone = verb(which, "expel", "you vouch that it runs nowhere and never will: others get its rights", expel)
    gone.add_argument("name", metavar="NAME", help="a founder whose state is lost, or that is gone for good")
    node = verbs.add_parser("node", help="one gateway node")
    what = node.add_subparsers(dest="what", metavar="VERB", required=True)
    text = "you vouch that it runs nowhere, and will not start again from its state: its seat is free"
    verb(what, "forget", text, forget).add_argument("id", metavar="ID", help="as `kcm nodes` lists it")


def _table(answer: dict[str, Any]) -> str:
    if not answer["founders"]:
        return f"policy {answer['policy']}: there are no founders"
    return table(answer["founders"], _FOUNDERS, colour=False)
