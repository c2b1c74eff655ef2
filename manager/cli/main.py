"""`krakend-cluster-manager` starts a manager; `kcm` is the operator's name of the same program.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not found, 5 no manager reachable.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from manager.cli import (
    bundle,
    certificates,
    completion,
    config,
    doctor,
    init,
    keys,
    limits,
    look,
    membership,
    node,
    rights,
    subscription,
    tokens,
)
from manager.cli.client import (
    HTTP_PORT,
    ClientError,
    NoManager,
    NotFound,
    WrongUsage,
    base_url,
    fetch,
    request,
)
from manager.cli.output import in_colour, write
from manager.cli.parser import USAGE, Parser
from manager.cli.tables import pairs, printable, table

FAILED, NOT_FOUND, UNREACHABLE, INTERRUPTED = 1, 3, 5, 130
_GROUPS = {
    "look": ("nodes", "members", "info", "stats", "events", "monitor"),
    "when something is wrong": ("doctor", "explain", "reachability", "rtt", "health"),
    "what the group allows": ("subscription", "limits"),
    "nodes and their gateways": ("node", "config", "rollout", "bundle"),
    "managers": ("run", "join", "leave", "force-leave", "group", "snapshot"),
    "doors": ("init", "token", "certificates", "keys"),
    "more": ("sim", "completion"),
}
_MEMBERS = ("name", "state", "address", "kind")
_NODES = ("id", "name", "state", "service", "manager", "address", "seat", "since", "why")


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script `kcm`; ends by `SystemExit`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:
        main_manager(given[1:], program="kcm run")
    if given[:1] == ["sim"]:
        _simulate(given[1:])
    if given[:2] == ["snapshot", "restore"]:
        # Loaded only here, as what `run` needs.
        from manager.disk.snapshot import run

        sys.exit(run(given[2:], "kcm snapshot restore"))
    parser = _parser()
    options = parser.parse_args(given)
    if options.action is None:
        parser.print_help()
        sys.exit(USAGE)
    try:
        options.manager = base_url(
            options.manager or os.environ.get("KCM_MANAGER") or f"127.0.0.1:{HTTP_PORT}"
        )
    except ValueError as error:
        parser.error(f"{'--manager' if options.manager else 'variable KCM_MANAGER'} {error}")
    sys.exit(_carry_out(options))


def _simulate(arguments: Sequence[str]) -> NoReturn:
    """A program of its own: it imports this one's package, not the other way round."""
    os.environ["KCM_SIM_PROGRAM"] = "kcm sim"
    os.execv(sys.executable, [sys.executable, "-P", "-m", "simulations", *arguments])


def main_manager(arguments: Sequence[str] | None = None, program: str = "krakend-cluster-manager") -> None:
    """The console script `krakend-cluster-manager`; ends by `SystemExit`."""
    # Loaded only here: what a running manager needs takes longer to load than a verb to answer.
    from manager.process import run

    sys.exit(run(arguments, program))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="kcm",
        description="Look at a manager group and steer it.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 5 no manager reachable.",
    )
    parser.groups = _GROUPS
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, and end")
    parser.set_defaults(action=None, manager=None, output="table")
    _add_common(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.add_parser("run", help="start a manager (see `kcm run --help`)", add_help=False)
    verbs.add_parser("sim", help="whole groups in virtual time (see `kcm sim --help`)", add_help=False)
    _verb(verbs, "members", "the managers of the group, and other members", _members)
    nodes = _verb(verbs, "nodes", "the gateway nodes, or one of them", _nodes)
    nodes.add_argument("node", metavar="NODE", nargs="?", help="only this node, by its id or its name")
    _verb(verbs, "info", "what this manager is and sees", _info)
    _verb(verbs, "health", "whether this manager answers, for monitors: needs no token", _health)
    _verb(verbs, "leave", "end this manager for good: its nodes move, and it is not expected back", _leave)
    snapshot = verbs.add_parser("snapshot", help="save what this manager keeps on disk, or restore it")
    which = snapshot.add_subparsers(dest="what", metavar="save|restore", required=True)
    save = _verb(which, "save", "write this manager's state into a file, while it runs", _save_snapshot)
    save.add_argument("file", metavar="FILE", help="must not exist yet; it can be read by its owner alone")
    which.add_parser(
        "restore", help="put it in the place of a stopped manager's state (see --help)", add_help=False
    )
    subscription.add_verbs(_grouped(verbs, "subscription", "how many nodes may run"))
    limits.add_verbs(_grouped(verbs, "limits", "the cluster's limits, and who uses how much of them"))
    keys.add_verbs(verbs, _verb, _shown)
    tokens.add_verb(verbs, _verb, _shown)
    init.add_verb(verbs, _verb, _shown)
    certificates.add_verb(verbs, _verb, _shown)
    look.add_verbs(verbs, _verb, _shown)
    membership.add_verbs(verbs, _verb, _shown)
    doctor.add_verb(verbs, _verb, _shown)
    config.add_verbs(verbs, _verb, _shown)
    node.add_verbs(verbs, _verb, _shown)
    rights.add_verbs(verbs, _verb, _shown)
    bundle.add_verbs(verbs, _verb, _shown)
    completion.add_verb(verbs, _verb, parser)
    return parser


def _grouped(verbs: Any, name: str, text: str) -> Callable[..., argparse.ArgumentParser]:
    """What adds verbs under `kcm NAME`."""
    parser = verbs.add_parser(name, help=text)
    more = parser.add_subparsers(dest="what", metavar="VERB", required=True)

    def verb(name: str, text: str, action: subscription.Action) -> argparse.ArgumentParser:
        def shown(options: argparse.Namespace) -> str:
            answer, for_people = action(options)
            return _shown(options, answer, for_people)

        added: argparse.ArgumentParser = _verb(more, name, text, shown)
        return added

    return verb


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        # To find it takes longer than to load the rest.
        from manager.version import installed_version

        print(f"kcm {installed_version()}")
        parser.exit()


def _verb(verbs: Any, name: str, text: str, action: Callable[[argparse.Namespace], str]) -> Any:
    parser = verbs.add_parser(name, help=text, description=text)
    _add_common(parser)
    parser.set_defaults(action=action)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Options that may stand before the verb and after it."""
    parser.add_argument(
        "--manager",
        default=argparse.SUPPRESS,
        metavar="URL",
        help=f"the manager to ask; default: KCM_MANAGER, or http://127.0.0.1:{HTTP_PORT}",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "json", "yaml"),
        default=argparse.SUPPRESS,
        help="form of the answer; default: table",
    )


def _carry_out(options: argparse.Namespace) -> int:
    try:
        text = options.action(options)
    except NoManager as error:
        return _fail(error, UNREACHABLE)
    except NotFound as error:
        return _fail(error, NOT_FOUND)
    except WrongUsage as error:
        return _fail(error, USAGE)
    except ClientError as error:
        return _fail(error, FAILED)
    except (KeyError, TypeError, AttributeError):
        return _fail(f"what answers at {options.manager} is no manager of this version", UNREACHABLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        write(text)
    except OSError as error:
        return _fail(f"the answer cannot be written: {error.strerror}", FAILED)
    return 0


def _fail(error: ClientError | str, code: int) -> int:
    print(f"kcm: {printable(str(error))}", file=sys.stderr)
    return code


def _shown(options: argparse.Namespace, answer: Any, text: Callable[[], str]) -> str:
    if options.output == "yaml":
        # Loaded only here: it takes longer to load than the rest.
        import yaml

        printed: str = yaml.safe_dump(answer, sort_keys=False, allow_unicode=True)
        return printed.rstrip()
    return json.dumps(answer, indent=2) if options.output == "json" else text()


def _members(options: argparse.Namespace) -> str:
    answer = request(options.manager, "GET", "/api/v1/members")
    return _shown(options, answer, lambda: table(answer["members"], _MEMBERS, colour=in_colour()))


def _nodes(options: argparse.Namespace) -> str:
    if options.node is not None:
        answer = node.find(options.manager, options.node)
        return _shown(options, answer, lambda: pairs(answer))
    answer = request(options.manager, "GET", "/api/v1/nodes")
    nothing = "no nodes yet: `seed` in a node's service.yml names the node port of a manager, HOST:7000"
    return _shown(
        options, answer, lambda: table(_by_name(answer["nodes"]), _NODES, colour=in_colour(), nothing=nothing)
    )


def _by_name(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for listed in nodes:
        if listed["over_limit"]:
            listed["seat"] = "over limit"
        if node.gateway_in_trouble(listed):
            listed["service"] = f"gateway {listed['gateway']}"
        elif listed["state"] in ("down", "removed", "refused"):
            listed["service"] = ""
    return sorted(nodes, key=lambda listed: (listed["name"], listed["id"]))


def _info(options: argparse.Namespace) -> str:
    answer = request(options.manager, "GET", "/api/v1/info")
    return _shown(options, answer, lambda: pairs(_said(answer)))


def _health(options: argparse.Namespace) -> str:
    answer = request(options.manager, "GET", "/health")
    return _shown(options, answer, lambda: pairs(answer))


def _said(info: dict[str, Any]) -> dict[str, Any]:
    """`info` with its two flags as one word for people."""
    rest = {key: value for key, value in info.items() if key not in ("fresh", "going")}
    state = (
        "leaving" if info["going"] else "just started, does not know the group yet" if info["fresh"] else ""
    )
    return {**rest, "state": state or "ready"}


def _leave(options: argparse.Namespace) -> str:
    answer = request(options.manager, "POST", "/api/v1/leave", {"for_good": True})
    return _shown(options, answer, lambda: f"{options.manager} leaves the group for good; its nodes move")


def _save_snapshot(options: argparse.Namespace) -> str:
    content = fetch(options.manager, "POST", "/api/v1/snapshot", {})
    try:
        with open(os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)
            os.fsync(stream.fileno())
    except OSError as error:
        raise ClientError(
            f"{options.file} cannot be written: {(error.strerror or str(error)).lower()}"
        ) from None
    answer = {"file": options.file, "bytes": len(content)}
    return _shown(
        options, answer, lambda: f"{options.file}: {len(content)} bytes, the state of {options.manager}"
    )
