"""`kcm keys`: the keys of the group's gossip, on every member at once."""

import argparse
import secrets
import sys
from collections.abc import Callable
from typing import Any

from manager.cli.client import ClientError, request
from manager.cli.tables import table

SECONDS_MAX = 15.0
"""A change has three steps, each of which waits for members that do not answer."""
_COLUMNS = ("fingerprint", "in_use", "installed")

Shown = Callable[[argparse.Namespace, Any, Callable[[], str]], str]


def add_verbs(verbs: Any, add: Callable[..., Any], shown: Shown) -> None:
    """The verb `keys` and what it can do. `add` makes a verb, `shown` the text of an answer."""
    keys = verbs.add_parser("keys", help="the keys of the gossip, on all members, without a restart")
    more = keys.add_subparsers(dest="what", metavar="list|generate|install|use|remove", required=True)
    add(more, "list", "who has which keys, by their fingerprints", lambda options: _list(options, shown))
    add(more, "generate", "print a new key (AES-256)", lambda options: _generated(options, shown))
    for name, method, text in (
        ("install", "POST", "give every member a key, which opens what comes to it"),
        ("use", "PUT", "let every member seal with an installed key"),
        ("remove", "DELETE", "take a key that nobody seals with off every member"),
    ):
        change = add(more, name, text, _change(method, shown))
        change.add_argument(
            "key", metavar="KEY", help="in base64, or the fingerprint of one that the manager has; - reads it"
        )
        if method != "POST":
            change.add_argument(
                "--without",
                action="append",
                default=[],
                metavar="NAME",
                help="go on although it does not answer; it is locked out if it comes back",
            )


def _generated(options: argparse.Namespace, shown: Shown) -> str:
    key = _generate()
    return shown(options, {"key": key}, lambda: key)


def _generate() -> str:
    # As `Keyring` wants it; `gossip` would take longer to load than this to run.
    from base64 import b64encode

    return b64encode(secrets.token_bytes(32)).decode()


def _list(options: argparse.Namespace, shown: Shown) -> str:
    answer = request(options.manager, "GET", "/api/v1/keys", seconds=SECONDS_MAX)
    return shown(options, answer, lambda: _text(answer))


def _change(method: str, shown: Shown) -> Callable[[argparse.Namespace], str]:
    def change(options: argparse.Namespace) -> str:
        key = sys.stdin.readline().strip() if options.key == "-" else options.key
        if not key:
            raise ClientError("no key came on standard input: `kcm keys generate | kcm keys install -`")
        body = {"key": key, "without": getattr(options, "without", [])}
        answer = request(options.manager, method, "/api/v1/keys", body, seconds=SECONDS_MAX)
        return shown(options, answer, lambda: _text(answer))

    return change


def _text(answer: dict[str, Any]) -> str:
    total = answer["members"]
    rows = [
        {
            "fingerprint": key["fingerprint"],
            "in_use": f"{len(key['in_use'])}/{total}",
            "installed": f"{len(key['installed'])}/{total}",
        }
        for key in answer["keys"]
    ]
    lines = [table(rows, _COLUMNS, colour=False)]
    lines += [f"{one['name']} {one['why']}: its keys are not known" for one in answer["missing"]]
    return "\n".join(lines)
