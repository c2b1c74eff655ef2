"""`kcm init`: a configuration with every door closed, with keys and tokens that nobody else has."""

import argparse
import os
import re
import secrets
from base64 import b64encode
from pathlib import Path
from typing import Any

from manager.cli.client import ClientError, WrongUsage
from manager.cli.tokens import new_token
from manager.tokens import digest

_GOSSIP_KEY_BYTES = 32
_HOST = r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
"""A name or an address, with a port or without; IPv6 in brackets."""
_GROUP = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_FILE = """\
# Made by `kcm init`. The same file on every manager, mode 0600: it holds the group's secrets.
peers: [{peers}]
group:
  name: {group}
  secret: {secret}
gossip:
  key: {key}
http:
  tokens:
    admin: {{scope: admin, sha256: {admin}}}
nodes:
  tokens:
    first: {{sha256: {join}}}
"""


def add_verb(verbs: Any, verb: Any, shown: Any) -> None:
    """Add `kcm init FILE`."""

    def action(options: argparse.Namespace) -> str:
        answer = write_configuration(Path(options.file), options.group, options.peers)
        text: str = shown(options, answer, lambda: _for_people(answer))
        return text

    parser = verb(verbs, "init", "write a configuration for all managers, with fresh keys and tokens", action)
    parser.add_argument("file", metavar="FILE", help="must not exist yet; only its owner can read it")
    parser.add_argument("--group", default="krakend", help="the group's name; default: krakend")
    parser.add_argument("--peers", default="", metavar="HOSTS", help="the managers, with commas between them")


def write_configuration(path: Path, group: str, peers: str) -> dict[str, str]:
    """Write the file; gives what is not in it: the tokens. Raises `ClientError`."""
    hosts = [host.strip() for host in peers.split(",")]
    if peers and not all(re.fullmatch(_HOST, host) for host in hosts):
        raise WrongUsage(
            f"--peers must be names or addresses (IPv6 in brackets) with commas between them, not {peers!r}"
        )
    if not re.fullmatch(_GROUP, group):
        raise WrongUsage(f"--group must be letters, digits, `.`, `_` or `-`, not {group!r}")
    admin, join = new_token(), new_token()
    content = _FILE.format(
        peers=", ".join(f'"{host}"' if ":" in host else host for host in hosts),
        group=group,
        secret=secrets.token_urlsafe(32),
        key=b64encode(secrets.token_bytes(_GOSSIP_KEY_BYTES)).decode(),
        admin=digest(admin),
        join=digest(join),
    )
    try:
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as stream:
            stream.write(content)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ClientError(f"{path} cannot be written: {why}") from None
    return {"file": str(path), "admin_token": admin, "join_token": join}


def _for_people(answer: dict[str, str]) -> str:
    return (
        f"{answer['file']} is written: copy it to every manager. The tokens are shown only now:\n\n"
        f"  for people, as KCM_TOKEN or on the page:  {answer['admin_token']}\n"
        f"  for nodes, as `token` in service.yml:     {answer['join_token']}"
    )
