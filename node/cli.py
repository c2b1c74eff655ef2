"""`krakend-cluster-node`: start a node with what `service.yml` says.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

import argparse
import importlib.metadata
import logging
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from node import logs, loop
from node.agent import Agent
from node.config import NO_SEED, NodeSettings
from node.settings import Loaded, OptionParser, SettingsError, add_arguments, dump, load, options_given
from node.state import StateError, StateFile, state_directory

SERVICE_FILE = Path("/etc/krakend/service.yml")
PROGRAM = "krakend-cluster-node"


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script; ends by `SystemExit`."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None) -> int:
    """Do what the command line says; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        loaded = _load(options)
        if options.print_config:
            print(dump(loaded.settings), end="")
            return 0
        _check(loaded.settings, options.service or SERVICE_FILE)
        logs.configure("KN", loaded.settings.log.format, loaded.settings.log.level)
        for warning in loaded.warnings:
            logging.getLogger(__name__).warning("%s", warning)
        return _run_agent(loaded.settings)
    except (SettingsError, StateError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2


def version() -> str:
    """Of the installed distribution."""
    try:
        return importlib.metadata.version("krakend-cluster-manager")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog=PROGRAM,
        description="Run a node agent beside a gateway: it joins the cluster through the managers in `seed`.",
        epilog="Each option is also a key of the file and a variable: `--log-format` is `log.format` and"
        " KRAKEND_NODE_LOG_FORMAT; only `seed` is KRAKEND_SEED.",
        allow_abbrev=False,
        # Else all options are listed with what is wrong with one: `--help` does that.
        usage="%(prog)s [--help] [--service FILE] [--OPTION VALUE ...]",
    )
    parser.add_argument("--service", type=Path, metavar="FILE", help=f"in place of {SERVICE_FILE}")
    parser.add_argument("--print-config", action="store_true", help="print what is in force, and end")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version()}")
    add_arguments(parser, NodeSettings)
    return parser


def _load(options: argparse.Namespace) -> Loaded[NodeSettings]:
    return load(
        NodeSettings,
        prefix="KRAKEND_NODE_",
        file=options.service or SERVICE_FILE,
        file_must_exist=options.service is not None,
        environ=os.environ,
        options=options_given(options),
        renamed={"seed": "KRAKEND_SEED"},
    )


def _check(settings: NodeSettings, file: Path) -> None:
    """What makes no sense on this machine, though each key is right."""
    if not settings.seed:
        where = str(file) if file.exists() else f"{file} (which does not exist)"
        raise SettingsError(f"{where}: {NO_SEED}")
    gateway = settings.gateway
    key, program = ("run", gateway.run[0]) if gateway.run else ("program", gateway.program or gateway.kind)
    # Over its socket alone: it may run in another container.
    only_socket = (gateway.kind, gateway.supervise) == ("haproxy", "none")
    if gateway.kind != "none" and not only_socket and shutil.which(program) is None:
        raise SettingsError(f"`gateway.{key}`: {program} is not a program here: install it, or put its path")
    _check_limits_file(settings)


def _check_limits_file(settings: NodeSettings) -> None:
    folder = Path(settings.limits_file).absolute().parent
    state = state_directory(settings.state_dir, settings.name, os.environ)
    # The state directory is made a moment later.
    if settings.limits_file and folder != state.absolute() and not folder.is_dir():
        raise SettingsError(
            f"`limits_file`: the directory of {settings.limits_file} does not exist: create it"
        )


def _run_agent(settings: NodeSettings) -> int:
    state = StateFile(state_directory(settings.state_dir, settings.name, os.environ))
    try:
        name = settings.name if settings.name != "default" else socket.gethostname()
        agent = Agent(settings, state, os.environ, name, version())
        loop.run(agent.run())
    finally:
        state.close()
    return 0


if __name__ == "__main__":
    main()
