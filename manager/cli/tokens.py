"""`kcm token`: a new token for people, and the lines that every manager's file needs of it."""

import argparse
import re
import secrets
from typing import Any

from manager.cli.client import WrongUsage
from manager.tokens import Scope, digest, token_of

TOKEN_BYTES = 32
NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
"""Of a token: a key in YAML as it is."""


def new_token() -> str:
    return token_of(secrets.token_bytes(TOKEN_BYTES))


def add_verb(verbs: Any, verb: Any, shown: Any) -> None:
    """Add `kcm token NAME`."""

    def action(options: argparse.Namespace) -> str:
        if not re.fullmatch(NAME, options.name):
            raise WrongUsage(
                f"NAME must be letters, digits, `.`, `_`, `@` or `-`, the first a letter or digit, "
                f"not {options.name!r}"
            )
        if options.join and options.scope is not None:
            raise WrongUsage("--scope is for the API: a token by --join lets nodes in, and has none")
        token = new_token()
        answer = {"name": options.name, "token": token, "sha256": digest(token)}
        if not options.join:
            answer["scope"] = options.scope or Scope.VIEWER.value
        text: str = shown(options, answer, lambda: for_people(answer))
        return text

    parser = verb(
        verbs,
        "token",
        "make a token for API and page, or for nodes; no manager is asked, nothing is kept",
        action,
    )
    parser.add_argument("name", metavar="NAME", help="whose it is, as the audit log says it")
    parser.add_argument("--join", action="store_true", help="for nodes, in place of the API")
    parser.add_argument("--scope", choices=[scope.value for scope in Scope], help="default: viewer")


def for_people(answer: dict[str, str]) -> str:
    """The token, and the line that belongs into the files."""
    where = "http.tokens" if "scope" in answer else "nodes.tokens"
    rest = "".join(f"{key}: {answer[key]}, " for key in ("scope",) if key in answer)
    return (
        f"{answer['token']}\n\n"
        f"That is the token; it is shown only now. Into every manager's file, under {where}:\n\n"
        f"    {answer['name']}: {{{rest}sha256: {answer['sha256']}}}"
    )
