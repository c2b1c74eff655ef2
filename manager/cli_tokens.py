"""`kcm token`: a new token for people, and the lines that every manager's file needs of it."""

import argparse
import secrets
from typing import Any

from manager.tokens import Scope, digest, token_of

TOKEN_BYTES = 32


def new_token() -> str:
    return token_of(secrets.token_bytes(TOKEN_BYTES))


def add_verb(verbs: Any, verb: Any, shown: Any) -> None:
    """Add `kcm token NAME`."""

    def action(options: argparse.Namespace) -> str:
        token = new_token()
        answer = {"name": options.name, "scope": options.scope, "token": token, "sha256": digest(token)}
        text: str = shown(options, answer, lambda: for_people(answer))
        return text

    parser = verb(verbs, "token", "make a token for API and page; nothing is asked, nothing is kept", action)
    parser.add_argument("name", metavar="NAME", help="whose it is, as the audit log says it")
    parser.add_argument(
        "--scope", choices=[scope.value for scope in Scope], default="viewer", help="default: viewer"
    )


def for_people(answer: dict[str, str]) -> str:
    return (
        f"{answer['token']}\n\n"
        "That is the token; it is shown only now. Into every manager's file, under http.tokens:\n\n"
        f"    {answer['name']}: {{scope: {answer['scope']}, sha256: {answer['sha256']}}}"
    )
