"""`kcm group founders`: over whom the seats are divided, under policy `strict`."""

import argparse
from collections.abc import Callable
from typing import Any

from manager.cli.client import request
from manager.cli.tables import table

_FOUNDERS = ("name", "state", "reachable", "rights", "seats", "left", "owes", "last_lapse", "why")


def add_verbs(verbs: Any, verb: Callable[..., Any], shown: Callable[..., str]) -> None:
    """Add `group`; `verb` makes one below it, `shown` prints an answer as JSON or as the given text."""

    def founders(options: argparse.Namespace) -> str:
        answer = request(options.manager, "GET", "/api/v1/group/founders")
        return shown(options, answer, lambda: _table(answer))

    def expel(options: argparse.Namespace) -> str:
        answer = request(options.manager, "POST", "/api/v1/group/founders/expel", {"name": options.name})
        return shown(options, answer, lambda: _table(answer))

    group = verbs.add_parser("group", help="the founders, over whom the seats are divided")
    more = group.add_subparsers(dest="what", metavar="VERB", required=True)
    listing = verb(more, "founders", "the founders, and what each may give; or expel one", founders)
    which = listing.add_subparsers(dest="which", metavar="expel")
    gone = verb(which, "expel", "you vouch that it runs nowhere and never will: others get its rights", expel)
    gone.add_argument("name", metavar="NAME", help="a founder whose state is lost, or that is gone for good")


def _table(answer: dict[str, Any]) -> str:
    if not answer["founders"]:
        return f"policy {answer['policy']}: there are no founders"
    return table(answer["founders"], _FOUNDERS, colour=False)
