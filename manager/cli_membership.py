"""`kcm force-leave`: who belongs to the group, by an operator's word, as Serf's users know it."""

import argparse
from collections.abc import Callable
from typing import Any

from manager.client import request


def add_verbs(verbs: Any, verb: Callable[..., Any], shown: Callable[..., str]) -> None:
    """Add it; `verb` makes one, `shown` prints an answer as JSON or as the given text."""

    def force_leave(options: argparse.Namespace) -> str:
        body = {"name": options.name, "prune": options.prune}
        answer = request(options.manager, "POST", "/api/v1/force-leave", body)
        word = "is no longer listed" if options.prune else "has left, and is not expected back"
        return shown(options, answer, lambda: f"{options.name} {word}")

    text = "a dead manager or agent has left, and is not expected back"
    gone = verb(verbs, "force-leave", text, force_leave)
    gone.add_argument("name", metavar="NAME", help="as `kcm members` lists it")
    gone.add_argument("--prune", action="store_true", help="and take it off the list of members")
