"""`kcm config …` and `kcm rollout …`: gateway configurations, and how they reach the nodes."""

import argparse
import difflib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from manager.cli.client import ClientError, NotFound, WrongUsage, fetch, head, request, send
from manager.cli.tables import pairs, table
from manager.cli.values import seconds
from manager.rollout.plan import KINDS, P95_MARGIN_MAX
from node.bounds import CONFIG_BYTES_MAX

SECONDS_MAX = 90.0
"""A gateway's own check of a configuration may take a minute."""
_LOOK_EVERY = 1.0
_HISTORY = ("version", "wanted", "size", "at", "by", "sha256")
_NODES = ("id", "name", "running", "on_disk", "ready", "turn", "drifted", "note")
_ROLLOUTS = ("kind", "version", "phase", "wave", "done", "total", "conductor", "waits_for", "why")
_MANNER = ("waves", "max_unavailable", "pause", "error_margin", "p95_margin", "heal")
_NOTHING = "no configuration was pushed yet: `kcm config push --kind KIND FILE` brings one to all gateways"
_AHEAD = ("versions", "nodes", "drifted")

Shown = Callable[[argparse.Namespace, Any, Callable[[], str]], str]
Add = Callable[..., Any]


def add_verbs(verbs: Any, add: Add, shown: Shown) -> None:
    """The verbs `config` and `rollout`. `add` makes a verb, `shown` the text of an answer."""
    config = verbs.add_parser("config", help="the gateways' configuration: push it, look at it, go back")
    more = config.add_subparsers(dest="what", metavar="VERB", required=True)

    def verb(name: str, text: str, action: Callable[[argparse.Namespace], Any], show: Any) -> Any:
        def act(options: argparse.Namespace) -> str:
            answer = action(options)
            return shown(options, answer, lambda: show(answer))

        parser = add(more, name, text, act)
        parser.add_argument("--kind", choices=KINDS, help="of gateway; needed unless there is exactly one")
        return parser

    push = verb("push", "bring a file to all gateways of a kind, in waves", _push, _pushed)
    _add_manner(push)
    push.add_argument("--force", action="store_true", help="even if it is much smaller than the one before")
    push.add_argument("--serial", type=int, metavar="N", help="only if this is still the plan's serial")
    validate = verb("validate", "let a gateway check a file; nothing is changed", _validate, _validity)
    for parser in (push, validate):
        parser.add_argument("file", type=Path, metavar="FILE", help="the gateway's configuration; - reads it")
    diff = verb("diff", "how a file, or an older version, differs from what is wanted", _diff, str)
    diff.add_argument("file", metavar="FILE|VERSION", help="a file, or the number of a version")
    verb(
        "history",
        "the versions that are kept",
        _look,
        lambda plan: table(plan["versions"], _HISTORY, colour=False),
    )
    verb("show", "the plan, and what each node runs", _look, _status)
    back = verb("rollback", "go back to the version before, or to another, in waves", _roll_back, _status)
    _add_manner(back)
    back.add_argument("version", nargs="?", type=int, metavar="VERSION", help="default: the one before")
    wait = verb("wait", "until the rollout is over; fails where it did not come to all nodes", _wait, _status)
    wait.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="default: 600")
    verb("drift", "nodes whose configuration is no longer what they were brought", _look, _drift)
    cat = add(more, "cat", "print a version as it is", _cat)
    cat.add_argument("version", nargs="?", type=int, metavar="VERSION", help="default: the wanted one")
    cat.add_argument("--kind", choices=KINDS, help="of gateway; needed unless there is exactly one")

    rollout = verbs.add_parser(
        "rollout", help="watch, pause, resume or cut short the way of a configuration to the nodes"
    )
    more = rollout.add_subparsers(dest="what", metavar="VERB", required=True)
    status = add(more, "status", "how far each rollout is", lambda options: _rollouts(options, shown))
    status.add_argument("--watch", action="store_true", help="until all are over, a line for each change")
    for name, text in (
        ("pause", "change no further node"),
        ("resume", "go on after a pause, a failure, or the end of its conductor: this manager conducts it"),
        ("promote", "let the next wave begin without its pause"),
        ("abort", "stop for good; nodes stay as they are"),
    ):
        verb(name, text, _steer(name), _status)


def _add_manner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--waves", metavar="LIST", help="such as 1,25%%,100%% (the default)")
    parser.add_argument(
        "--max-unavailable", type=int, metavar="N", help="nodes out of service at a time; default: 1"
    )
    parser.add_argument("--pause", type=seconds, metavar="DURATION", help="between waves; default: 10s")
    text = "how much larger the part of errors may be at nodes with the new version; default: 5%%"
    parser.add_argument("--error-margin", type=_part, metavar="PART", help=text)
    text = "how much longer the 95th percentile of their latency may be; default: 100%%"
    parser.add_argument("--p95-margin", type=_times, metavar="PART", help=text)
    heal = parser.add_mutually_exclusive_group()
    heal.add_argument(
        "--heal", dest="heal", action="store_true", default=None, help="undo edits by hand, too"
    )
    heal.add_argument("--no-heal", dest="heal", action="store_false", help="only show them (the default)")


def _times(text: str, most: float = P95_MARGIN_MAX) -> float:
    """`5%` or `0.05`."""
    try:
        part = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        part = -1.0
    if not 0 <= part <= most:
        raise argparse.ArgumentTypeError("must be a part such as 5%, or 0.05")
    return part


def _part(text: str) -> float:
    """No more than the whole."""
    return _times(text, 1.0)


def _kind(options: argparse.Namespace) -> str:
    """The kind that is meant; where none is named, the only one that there is."""
    if options.kind is not None:
        return str(options.kind)
    known = {each["kind"] for each in request(options.manager, "GET", "/api/v1/config")["configs"]}
    if not known:
        raise NotFound(_NOTHING)
    if len(known) != 1:
        raise WrongUsage(f"name the kind of gateway by --kind: there are {', '.join(sorted(known))}")
    return str(known.pop())


def _look(options: argparse.Namespace) -> dict[str, Any]:
    return request(options.manager, "GET", f"/api/v1/config/{_kind(options)}")


def _read(path: Path) -> bytes:
    try:
        content = sys.stdin.buffer.read(CONFIG_BYTES_MAX + 1) if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}") from None
    if len(content) > CONFIG_BYTES_MAX:
        raise ClientError(f"{path} has more than {CONFIG_BYTES_MAX} bytes")
    return content


def _manner(options: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in _MANNER}
    return {name: value for name, value in given.items() if value is not None}


def _push(options: argparse.Namespace) -> dict[str, Any]:
    content, kind = _read(options.file), _kind(options)
    query = {name: _as_text(value) for name, value in _manner(options).items()}
    if options.force:
        query["force"] = "1"
    path = f"/api/v1/config/{kind}"
    known = "" if options.serial is None else _mark(options, path)
    return send(options.manager, "PUT", f"{path}?{urlencode(query)}", content, SECONDS_MAX, known)


def _mark(options: argparse.Namespace, path: str) -> str:
    """The mark of the plan with the serial given: who pushes by it pushes upon that one or not at all."""
    mark = head(options.manager, path)["etag"]
    serial = request(options.manager, "GET", path)["serial"]
    if serial != options.serial:
        raise ClientError(f"the plan's serial is {serial}, not {options.serial}: look at it again")
    return mark


def _validate(options: argparse.Namespace) -> dict[str, Any]:
    content, kind = _read(options.file), _kind(options)
    path = f"/api/v1/config/{kind}?dry_run=1&force=1"
    return {"kind": kind, **send(options.manager, "PUT", path, content, SECONDS_MAX)}


def _validity(answer: dict[str, Any]) -> str:
    if not answer["valid"]:
        raise ClientError(
            f"{answer['node']} at manager {answer['manager']} would not run with it: {answer['error']}"
        )
    if answer["kind"] == "command":
        return (
            f"not checked: {answer['node']} at manager {answer['manager']} has a gateway of kind command, "
            "and its agent knows no check for that"
        )
    return f"valid: {answer['node']} at manager {answer['manager']} would run with it"


def _diff(options: argparse.Namespace) -> str:
    plan = _look(options)
    kind, wanted = plan["kind"], plan["version"]
    theirs = _content(options, kind, wanted)
    if options.file.isdecimal():
        ours, name = _content(options, kind, int(options.file)), f"version {options.file}"
    else:
        ours, name = _read(Path(options.file)), options.file
    lines = difflib.unified_diff(_lines(theirs), _lines(ours), f"version {wanted}", name, lineterm="")
    return "\n".join(lines) or f"{name} is version {wanted}"


def _cat(options: argparse.Namespace) -> str:
    plan = _look(options)
    version = plan["version"] if options.version is None else options.version
    return _content(options, plan["kind"], version).decode("utf-8", errors="replace").removesuffix("\n")


def _content(options: argparse.Namespace, kind: str, version: int) -> bytes:
    return fetch(options.manager, "GET", f"/api/v1/config/{kind}/versions/{version}")


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", errors="replace").splitlines()


def _roll_back(options: argparse.Namespace) -> dict[str, Any]:
    body = _manner(options)
    if options.version is not None:
        body["version"] = options.version
    return request(options.manager, "POST", f"/api/v1/config/{_kind(options)}/rollback", body)


def _steer(action: str) -> Callable[[argparse.Namespace], dict[str, Any]]:
    def steer(options: argparse.Namespace) -> dict[str, Any]:
        return request(options.manager, "POST", f"/api/v1/rollouts/{_kind(options)}", {"action": action})

    return steer


def _wait(options: argparse.Namespace) -> dict[str, Any]:
    kind, ends, said = _kind(options), time.monotonic() + options.timeout, ""
    while True:
        plan = request(options.manager, "GET", f"/api/v1/config/{kind}")
        said = _tell(plan, said)
        if plan["phase"] == "done" and plan["done"] == plan["total"]:
            return plan
        if plan["phase"] in ("failed", "rolled back", "aborted"):
            raise ClientError(_not_at_all(plan))
        if time.monotonic() > ends:
            raise ClientError(f"not over within {options.timeout:g} s: {plan['phase']}, {plan['waits_for']}")
        time.sleep(_LOOK_EVERY)


def _rollouts(options: argparse.Namespace, shown: Shown) -> str:
    said: dict[str, str] = {}
    answer = request(options.manager, "GET", "/api/v1/rollouts")
    while options.watch and any(each["phase"] in _MOVING for each in answer["rollouts"]):
        for each in answer["rollouts"]:
            said[each["kind"]] = _tell(each, said.get(each["kind"], ""))
        time.sleep(_LOOK_EVERY)
        answer = request(options.manager, "GET", "/api/v1/rollouts")
    rows = _rows(answer["rollouts"])
    return shown(options, answer, lambda: table(rows, _ROLLOUTS, colour=False, nothing=_NOTHING))


def _rows(rollouts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As a table has them: what a rollout waits for is not told twice where that is why it stands."""
    return [{**each, "waits_for": ""} if each["waits_for"] == each["why"] else each for each in rollouts]


def _not_at_all(plan: dict[str, Any]) -> str:
    """Of a rollout that is over: one that was rolled back has gone to the version before."""
    version = plan["base"] if plan["phase"] == "rolled back" else plan["version"]
    return f"version {version} did not come to all nodes: {plan['phase']}, {plan['why']}"


_MOVING = ("running", "rolling back")


def _tell(plan: dict[str, Any], said: str) -> str:
    """Say where it is, if that has changed, beside the answer proper; gives what was said."""
    way = f"version {plan['version']}: {plan['phase']}"
    if plan["phase"] in ("rolling back", "rolled back"):
        way = f"{plan['phase']} from version {plan['base']} to {plan['version']}"
    where = f"{plan['kind']}, {way}, {plan['done']} of {plan['total']} nodes"
    line = f"{where}; {plan['waits_for']}" if plan["waits_for"] else where
    if line != said:
        print(line, file=sys.stderr)
    return line


def _pushed(plan: dict[str, Any]) -> str:
    if not plan["nodes"]:
        return (
            f"{_status(plan)}\n\nNot checked: no {plan['kind']} is connected whose agent takes "
            "configurations (`gateway.config`). The first one that comes checks it before it runs with it."
        )
    return f"{_status(plan)}\n\nNow: `kcm config wait --kind {plan['kind']}` ends when it is at all nodes."


def _status(plan: dict[str, Any]) -> str:
    text = pairs({key: value for key, value in plan.items() if key not in _AHEAD})
    return f"{text}\n\n{table(plan['nodes'], _NODES, colour=False)}"


def _drift(plan: dict[str, Any]) -> str:
    rows = [node for node in plan["nodes"] if node["drifted"]]
    refusing = [node for node in plan["nodes"] if node["failed"]]
    if not rows and refusing:
        return table(refusing, ("id", "name", "running", "on_disk", "note"), colour=False)
    if not rows:
        return f"no node of kind {plan['kind']} has drifted from version {plan['version']}"
    return table(rows, ("id", "name", "running", "on_disk", "running_sha256", "on_disk_sha256"), colour=False)


def _as_text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
