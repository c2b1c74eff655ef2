"""`kcm bundle create`: what a new node starts from while no manager answers."""

import argparse
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from manager.cli.client import ClientError, request
from manager.rollout.plan import KINDS

FETCH_SECONDS_MAX = 30.0


def add_verbs(verbs: Any, verb: Any, shown: Any) -> None:
    """Add `kcm bundle create`."""
    bundle = verbs.add_parser("bundle", help="what a new node starts from while no manager answers")
    more = bundle.add_subparsers(dest="what", metavar="VERB", required=True)

    def create(options: argparse.Namespace) -> str:
        answer = _create(options)
        text: str = shown(options, answer, lambda: for_people(answer))
        return text

    parser = verb(
        more,
        "create",
        "write a signed file with the managers' addresses, a gateway's configuration and provisional limits",
        create,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="where to write it; must not exist yet")
    parser.add_argument("--kind", choices=KINDS, help="with the configuration of this kind of gateway")
    parser.add_argument("--days", type=int, metavar="N", help="days for which it is valid; default: 30")


def _create(options: argparse.Namespace) -> dict[str, Any]:
    asked = {"kind": options.kind, "days": options.days}
    path = f"/api/v1/bundle?{urlencode({name: value for name, value in asked.items() if value is not None})}"
    answer = request(options.manager, "GET", path, seconds=FETCH_SECONDS_MAX)
    try:
        with os.fdopen(os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(answer.pop("bundle") + "\n")
    except OSError as error:
        raise ClientError(f"{options.file} cannot be written: {error.strerror}") from None
    return {"file": str(options.file), **answer}


def for_people(answer: dict[str, Any]) -> str:
    """What to put into the node's file."""
    return (
        f"{answer['file']} holds until {answer['expires']}. Beside it, into the new node's service.yml:\n\n"
        f"    bundle: {{file: {answer['file']}, key: {answer['key']}}}"
    )
