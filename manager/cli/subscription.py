"""`kcm subscription …`: the cap, and signed documents. The issuer's `keygen` and `sign` ask no manager."""

import argparse
import base64
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from manager.cli.client import ClientError, request
from manager.cli.tables import pairs, table
from manager.subscription.documents import (
    DOCUMENT_BYTES_MAX,
    MAX_NODES_MAX,
    SERIAL_MAX,
    Document,
    Overage,
    parse_time,
    read_private_key,
    sign,
)
from node.jws import public_text

Action: TypeAlias = Callable[[argparse.Namespace], tuple[dict[str, Any], Callable[[], str]]]
"""Gives what the manager answered, and how that is shown to people."""
_PATH = "/api/v1/subscription"
_HISTORY = ("serial", "max_nodes", "overage", "issued", "not_before", "expires", "revoked")
_LAPSES = ("founder", "seats", "away_since", "first_lapse", "last_lapse")
_DAYS = ("date", "peak", "p99", "minutes", "cap")


def add_verbs(verb: Callable[[str, str, Action], argparse.ArgumentParser]) -> None:
    """Add what follows `kcm subscription`; `verb(name, help, action)` makes one."""
    verb("show", "the cap, how much of it is used, and what lies ahead", _show)
    set_ = verb("set", "change the cap, on all managers at once; without a signed document only", _set)
    set_.add_argument("--max-nodes", type=_count, required=True, metavar="N", help="as many nodes may run")
    install = verb("install", "put a signed document into force, on all managers at once", _install)
    install.add_argument("file", type=Path, metavar="FILE", help="what `sign` wrote")
    check = verb("check", "what the subscription will be next, and when", _check)
    check.add_argument("--now", action="store_true", help="have the issuer's URL asked at once")
    verb("history", "seats by day, and the signed documents that are still known", _history)
    keygen = verb("keygen", "make an issuer's key; prints the public one", _keygen)
    keygen.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the private key goes")
    _add_sign(verb("sign", "make a signed document", _sign))


def _add_sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="the issuer's private key")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the document goes")
    parser.add_argument("--group", required=True, metavar="NAME", help="the group that it is for")
    parser.add_argument("--serial", type=_serial, required=True, metavar="N", help="above the last one's")
    cap = parser.add_mutually_exclusive_group(required=True)
    cap.add_argument("--max-nodes", type=_count, metavar="N", help="as many nodes may run")
    cap.add_argument("--unlimited", action="store_true", help="any number of nodes may run")
    parser.add_argument("--not-before", type=_time, metavar="TIME", help="valid from then on; default: now")
    parser.add_argument("--expires", type=_time, metavar="TIME", help="2027-11-24, or with a time of day")
    parser.add_argument("--overage", choices=get_args(Overage), default="none", help="default: none")
    parser.add_argument("--revoke", action="store_true", help="takes the subscription back")


def _count(text: str) -> int:
    if text.isdecimal() and len(text) < 10 and int(text) <= MAX_NODES_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MAX_NODES_MAX}, not {text!r}")


def _serial(text: str) -> int:
    if text.isdecimal() and len(text) < 17 and 0 < int(text) <= SERIAL_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")


def _time(text: str) -> float:
    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a date such as 2027-11-24, or 2027-11-24T12:00:00Z, not {text!r}"
        ) from None


def _show(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    answer = request(options.manager, "GET", _PATH)
    return answer, lambda: _shown(answer)


def _shown(answer: dict[str, Any]) -> str:
    """What holds as pairs, and under them what lies ahead as a table."""
    parts = [pairs({key: value for key, value in answer.items() if key not in ("next", "lapses")})]
    if answer["next"]:
        parts.append(table(answer["next"], ("at", "stage", "why"), colour=False))
    if answer["lapses"]:
        parts.append(table(answer["lapses"], _LAPSES, colour=False))
    return "\n\n".join(parts)


def _set(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    answer = request(options.manager, "PATCH", _PATH, {"max_nodes": options.max_nodes})
    return answer, lambda: _shown(answer)


def _install(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    with _open(options.file, os.O_RDONLY) as file:
        raw = file.read(DOCUMENT_BYTES_MAX + 1)
    text = raw.decode("utf-8", errors="replace")
    answer = request(options.manager, "PUT", f"{_PATH}/document", {"document": text})
    return answer, lambda: _shown(answer)


def _check(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    if not options.now:
        return _show(options)
    answer = request(options.manager, "POST", f"{_PATH}/check", {})
    return answer, lambda: "the issuer is asked; `kcm subscription show` says what holds"


def _history(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    answer = request(options.manager, "GET", f"{_PATH}/history")
    return answer, lambda: _past(answer)


def _past(answer: dict[str, Any]) -> str:
    """Seats by day; above them the documents, where there are any."""
    documents = [table(answer["documents"], _HISTORY, colour=False)] if answer["documents"] else []
    return "\n\n".join([*documents, table(answer["days"], _DAYS, colour=False)])


def _keygen(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    pem = new_private_key()
    if options.out.exists():
        raise ClientError(
            f"{options.out} is there already, and may be a key that is in use: name another file"
        )
    with _open(options.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
        file.write(pem)
    public = public_text(read_private_key(pem))
    return {"public_key": public}, lambda: public


def _sign(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], str]]:
    with _open(options.key, os.O_RDONLY) as file:
        pem = file.read()
    try:
        key = read_private_key(pem)
    except ValueError as error:
        raise ClientError(f"{options.key} {error}: `kcm subscription keygen` makes one") from None
    now = time.time()
    begins = now if options.not_before is None else options.not_before
    if options.expires is not None and options.expires <= begins:
        raise ClientError("--expires must be later than the beginning")
    document = Document(
        group=options.group,
        serial=options.serial,
        max_nodes=None if options.unlimited else options.max_nodes,
        issued=now,
        not_before=begins,
        expires=options.expires,
        overage=options.overage,
        revoked=options.revoke,
    )
    text = sign(document, key)
    with _open(options.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
        file.write(text.encode() + b"\n")
    as_variable = base64.b64encode(text.encode()).decode()
    answer = {"file": str(options.out), "serial": options.serial, "base64": as_variable}
    return answer, lambda: f"wrote {options.out}, serial {options.serial} for group {options.group}"


def new_private_key() -> bytes:
    """A fresh Ed25519 key in PEM (PKCS #8), as `openssl genpkey -algorithm ed25519` makes it."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _open(path: Path, flags: int) -> Any:
    try:
        return os.fdopen(os.open(path, flags, 0o600), "wb" if flags & os.O_WRONLY else "rb")
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}") from None
