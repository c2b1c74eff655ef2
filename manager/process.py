"""Starting a manager: configuration, log, loop, and the exit code."""

import argparse
import contextlib
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from gossip.messages import Address
from gossip.wire import Layers
from manager import checks
from manager.addresses import is_own, looked_up, own_addresses
from manager.cli.output import write
from manager.config.configured import address_to_advertise, core_config, gossip_layers
from manager.config.schema import CONFIG_FILE, ManagerFile
from manager.disk.store import SYSTEM_DIRECTORY, Store, StoreError, state_directory
from manager.doors import is_near
from manager.host import run_manager
from manager.keys import A_NEW_KEY
from manager.seats import founding
from manager.seats.lives import read_account
from manager.seats.records import FOUNDER, MET
from manager.tls import Certificate
from manager.version import installed_version
from node import logs, loop, settings
from node.settings import Loaded, OptionParser, SettingsError, add_arguments, load, options_given
from node.tls import to_managers

FROM_HERE_ONLY = (
    "no private address found on this host, so this manager is reached by 127.0.0.1, from here only: "
    "give the address that others reach it by with --advertise"
)
_NEAR = "any loopback or private address"
_CLOSE = "`kcm init FILE` makes a configuration that closes all doors"


def open_doors(file: ManagerFile) -> list[str]:
    """What is not locked, and which lines lock it; a warning for the operator, where anything is open."""
    found = []
    if not (file.gossip.key.get_secret_value() or file.gossip.keyring_file):
        found.append(f"no gossip.key: gossip is taken from {_NEAR}, `{A_NEW_KEY}` makes one for all managers")
    if not file.nodes.tokens:
        found.append(f"no nodes.tokens: nodes are let in from {_NEAR}")
    if not file.http.tokens:
        found.append(f"no http.tokens: page and API can be read from {_NEAR}, changes are for this host only")
    return [f"{'; '.join(found)}. {_CLOSE}"] if found else []


NOTHING_KEPT = (
    "state is in memory only: when all managers stop at once, their nodes' list, what was set live and "
    f"statistics are gone; make {SYSTEM_DIRECTORY} for it (mode 0700), or name another folder (--state-dir)"
)
KEY_IN_SIGHT = (
    "everybody on this host can read --gossip-key: set the variable KCM_GOSSIP_KEY, or gossip.keyring_file"
)


def raise_files_limit() -> None:
    """As many connections as the system allows us: each is an open file, and shells allow few at first."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(arguments: Sequence[str] | None, program: str) -> int:
    """Do what the command line says; gives the exit code."""
    options = _parser(program).parse_args(arguments)
    try:
        loaded = load_file(options)
        file = loaded.settings
        if options.print_config:
            # As UTF-8 whatever the locale: so it is read when it is fed back.
            write(_printed(file), encoding="utf-8")
            return 0
        advertise = address_to_advertise(file, own_addresses())
        unfit = _check_tls(file, advertise)
        layers = _layers(file)
        if layers.keyring is None and not is_near(advertise):
            raise SettingsError(
                f"advertise: {advertise} is a public address, and without a key anybody there could join: "
                "give all managers a gossip.key, or advertise a private address (--advertise)"
            )
    except SettingsError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    logs.configure("CM", file.log.format, file.log.level)
    try:
        store = open_store(file)
    except StoreError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    kept = [NOTHING_KEPT] if store is None else store.notices
    notices = [*loaded.warnings, *kept, *open_doors(file), *([unfit] if unfit else [])]
    if "gossip.key" in options_given(options):
        notices.append(KEY_IN_SIGHT)
    if advertise == "127.0.0.1" and not file.advertise and file.bind != advertise:
        notices.append(FROM_HERE_ONLY)
    try:
        raise_files_limit()
        return loop.run(run_manager(file, advertise, notices, layers, store))
    finally:
        if store is not None:
            store.close()


def open_store(file: ManagerFile) -> Store | None:
    """The state of the manager that `file` describes; None where it keeps none. Raises `StoreError`."""
    directory = state_directory(file.state_dir, file.name)
    if directory is None:
        if file.subscription.policy == "strict" and file.name in file.group.founders:
            raise StoreError(
                f"{file.name} is a founder under policy strict, and there is no place for what it has given: "
                f"make {SYSTEM_DIRECTORY} (mode 0700), or name another folder (--state-dir)"
            )
        return None
    store = Store(directory, file.name, file.group.name, file.group.secret.get_secret_value())
    if file.subscription.policy == "strict":
        page = store.saved.pages.get(file.name)
        before = None if page is None else read_account(page.get(FOUNDER))
        has_met = page is not None and any(key.startswith(MET) for key in page.values)
        if why := founding.refusal(before, file.group.founders, has_met=has_met):
            store.close()
            raise StoreError(why)
        if line := founding.warning(before, core_config(file).seat_terms):
            store.notices.append(line)
    return store


def _layers(file: ManagerFile) -> Layers:
    try:
        return gossip_layers(file)
    except ValueError as error:
        raise SettingsError(f"`gossip.keyring_file` {error}") from None


def _check_tls(file: ManagerFile, advertise: str) -> str:
    """What others will not like about the certificate; or empty. Raises `SettingsError`."""
    tls = file.tls
    if not tls.cert:
        return ""
    try:
        to_managers(tls.ca)
        return Certificate(tls.cert, tls.key, tls.client_ca).unfit(advertise, tls.server_name)
    except (OSError, ValueError) as error:
        raise SettingsError(f"`tls` cannot be used ({error}): name files that are a pair, in PEM") from None


def load_as_started() -> ManagerFile:
    """What a manager would have that is started here without options. Raises `SettingsError`."""
    return load_file(_parser("kcm run").parse_args([])).settings


async def examine(file: ManagerFile) -> list[dict[str, str]]:
    """What a manager with this configuration would find amiss with its host before it listens."""
    try:
        advertise = address_to_advertise(file, own_addresses())
    except SettingsError as error:
        return [checks.row("address", checks.BAD, str(error))]
    facts = checks.Facts(
        advertise=str(Address.of(advertise, file.gossip_port)),
        is_own=is_own(advertise),
        itself="",
        peers=await looked_up(file.peers),
        unmet=(),
        has_key=bool(file.gossip.key.get_secret_value() or file.gossip.keyring_file),
        rejected={},
        days_left=None,
        unfit="",
    )
    return list(checks.rows(facts))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = OptionParser(
        prog=program,
        description="Start a manager: nodes join on port 7000, managers gossip on 7946, the page is on 9897.",
        epilog="Each option is also a key of the file and a variable: `--log-format` is `log.format` and"
        " KCM_LOG_FORMAT. An option beats a variable, a variable the file, the file the default."
        " --print-config leaves out group.secret and gossip.key: put them back by hand.",
        allow_abbrev=False,
        # Else all options are listed with what is wrong with one: `--help` does that.
        usage="%(prog)s [--help] [--config FILE] [--OPTION VALUE ...]",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"in place of {CONFIG_FILE}")
    parser.add_argument("--print-config", action="store_true", help="print what is in force, and end")
    parser.add_argument("--version", action="version", version=f"{program} {installed_version()}")
    add_arguments(parser, ManagerFile, aliases={"peers": ("--peer",)})
    return parser


def load_file(options: argparse.Namespace) -> Loaded[ManagerFile]:
    """The configuration that a manager would have with these options. Raises `SettingsError`."""
    return load(
        ManagerFile,
        prefix="KCM_",
        file=options.config or CONFIG_FILE,
        file_must_exist=options.config is not None,
        environ=os.environ,
        options=options_given(options),
        not_keys=("KCM_MANAGER", "KCM_TOKEN", "KCM_CA"),
    )


def _printed(file: ManagerFile) -> str:
    secrets = {"group.secret": file.group.secret, "gossip.key": file.gossip.key}
    hidden = [
        f"# {name} is set and not shown\n" for name, secret in secrets.items() if secret.get_secret_value()
    ]
    return "".join(hidden) + settings.dump(file)
