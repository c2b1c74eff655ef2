"""`kcm limits …`: the cluster's limits, who uses how much of one, and why."""

import argparse
import contextlib
import math
from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import quote

from manager.cli.client import NotFound, WrongUsage, request
from manager.cli.tables import pairs, table
from manager.cli.values import seconds
from manager.limits.explain import explain
from manager.meant import did_you_mean
from node.bounds import in_words

Action: TypeAlias = Callable[[argparse.Namespace], tuple[dict[str, Any], Callable[[], str]]]
"""Gives what the manager answered, and how that is shown to people."""
_PATH = "/api/v1/limits"
_LIMITS = ("name", "max_rate", "every", "per_client", "algorithm", "lease", "reuse_last", "safe", "share")
_SHARES = ("id", "name", "manager", "state", "weight", "share", "entitled", "in_force")


def add_verbs(verb: Callable[[str, str, Action], argparse.ArgumentParser]) -> None:
    """Add what follows `kcm limits`; `verb(name, help, action)` makes one."""
    show = verb("show", "the cluster's limits, or one, and each node's usual share", _show)
    show.add_argument("name", metavar="NAME", nargs="?", help="only this one")
    set_ = verb("set", "set or change a limit, on all managers at once", _set)
    set_.add_argument("name", metavar="NAME")
    set_.add_argument("--max-rate", type=_rate, metavar="N", help="requests that pass in each `every`")
    set_.add_argument("--every", type=seconds, metavar="TIME", help="1s, 1m …; default of a new one: 1s")
    set_.add_argument("--per-client", choices=("yes", "no"), help="of each client's own")
    set_.add_argument("--algorithm", metavar="HOW", help="equal, weighted or fair_share")
    set_.add_argument("--lease", type=seconds, metavar="TIME", help="a share is renewed before it ends")
    set_.add_argument(
        "--reuse-last", type=seconds, metavar="TIME", help="… and how long it may be used without"
    )
    set_.add_argument(
        "--safe",
        type=_rate_or_none,
        metavar="N",
        default=argparse.SUPPRESS,
        help="then a node's max_rate; `none`: by seat",
    )
    verb("remove", "take a limit away, on all managers at once", _remove).add_argument("name", metavar="NAME")
    verb("shares", "who may use how much of a limit", _shares).add_argument("name", metavar="NAME")
    verb("explain", "why each node has the share that it has", _explain).add_argument("name", metavar="NAME")


def _rate(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")


def _rate_or_none(text: str) -> float | None:
    return None if text == "none" else _rate(text)


def _show(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    answer = request(options.manager, "GET", _PATH)
    if options.name is not None:
        if options.name not in answer["limits"]:
            near = did_you_mean(options.name, answer["limits"]) or "; `kcm limits show` lists them"
            raise NotFound(f"no limit is called {options.name!r}{near}")
        answer |= {key: {options.name: answer[key].get(options.name)} for key in ("limits", "share")}
    return answer, lambda: _shown(answer)


def _shown(answer: dict[str, Any]) -> str:
    rows = [
        {
            "name": name,
            **limit,
            **{key: f"{limit[key]:g} s" for key in ("every", "lease", "reuse_last")},
            "share": _share(answer["share"].get(name)),
        }
        for name, limit in answer["limits"].items()
    ]
    rest = pairs({key: answer[key] for key in ("nodes", "mode", "source", "serial")})
    return f"{table(rows, _LIMITS, colour=False)}\n\n{rest}" if rows else rest


def _share(share: dict[str, Any] | None) -> str:
    return "-" if share is None else in_words(share["max_rate"], share["every"])


def _at(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='', errors='surrogateescape')}"


def _set(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    given = {
        "max_rate": options.max_rate,
        "every": options.every,
        "per_client": None if options.per_client is None else options.per_client == "yes",
        "algorithm": options.algorithm,
        "lease": options.lease,
        "reuse_last": options.reuse_last,
    }
    body = {key: value for key, value in given.items() if value is not None}
    if hasattr(options, "safe"):
        body["safe"] = options.safe
    if not body:
        raise WrongUsage("say what to change, for instance --max-rate 100")
    answer = request(options.manager, "PATCH", _at(options.name), body)
    return answer, lambda: _shown(answer)


def _remove(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    answer = request(options.manager, "DELETE", _at(options.name), {})
    return answer, lambda: _shown(answer)


def _shares(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    answer = request(options.manager, "GET", f"{_at(options.name)}/shares")
    rows = [{**node, "share": _share(node["share"])} for node in answer["nodes"]]
    for row in rows:
        for key in ("entitled", "in_force"):
            row[key] = "-" if row[key] is None else f"{row[key]:.4g}/s"
    return answer, lambda: table(rows, _SHARES, colour=False)


def _explain(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    answer = request(options.manager, "GET", f"{_at(options.name)}/shares")
    return answer, lambda: "\n".join(explain(answer))
