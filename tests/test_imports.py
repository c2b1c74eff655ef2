"""Cores do not touch the world: `lint-imports` says which room may import which, this what a core may not.

A core is told the time, is given its randomness, and returns what shall be done, so the simulator runs it as
it is. Every module is a core unless it stands in SHELLS.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SHELLS = (
    "gossip.host",
    "manager.acceptor",
    "manager.addresses",
    "manager.agreement",
    "manager.cli.main",
    "manager.cli.doctor",
    "manager.cli.bundle",
    "manager.cli.certificates",
    "manager.cli.init",
    "manager.cli.look",
    "manager.cli.membership",
    "manager.cli.node",
    "manager.cli.config",
    "manager.cli.keys",
    "manager.cli.limits",
    "manager.cli.rights",
    "manager.cli.subscription",
    "manager.cli.tokens",
    "manager.cli.values",
    "manager.cli.client",
    "manager.config.schema",
    "manager.config.limits",
    "manager.config.values",
    "manager.config.configured",
    "manager.garbage",
    "manager.host",
    "manager.disk.journal",
    "manager.keys",
    "manager.subscription.file",
    "manager.listeners",
    "manager.cli.output",
    "manager.ports",
    "manager.tls",
    "manager.process",
    "manager.rejections",
    "manager.seed.connection",
    "manager.seed.server",
    "manager.seed.together",
    "manager.disk.snapshot",
    "manager.disk.store",
    "manager.waiting",
    "manager.web",
    "node.agent",
    "node.changes",
    "node.api",
    "node.cli",
    "node.clock",
    "node.config",
    "node.fingerprint",
    "node.folder",
    "node.gateways",
    "node.link",
    "node.logs",
    "node.lookup",
    "node.loop",
    "node.notify",
    "node.settings",
    "node.tls",
    "node.provision",
    "node.state",
    "simulations.__main__",
    "simulations.cli",
    "simulations.speed",
    "simulations.sweep",
)
"""Modules, and packages with all in them, that do what the cores decide."""

THE_WORLD: dict[str, set[str]] = {
    "aiohttp": set(),
    "asyncio": set(),
    "dns": set(),
    "date": {"fromisoformat"},
    "datetime": {"UTC", "date", "datetime", "fromisoformat", "fromtimestamp", "timedelta", "timezone"},
    "fcntl": set(),
    "http": set(),
    "logging": {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"},
    "os": set(),
    "random": {"Random"},
    "secrets": set(),
    "selectors": set(),
    "signal": set(),
    "socket": set(),
    "sqlite3": set(),
    "ssl": set(),
    "subprocess": set(),
    "threading": set(),
    "time": set(),
    "urllib": {"parse"},
    "uuid": {"UUID"},
    "uvloop": set(),
}
"""What reaches the clock, the network, the disk or entropy, by name; and which of its names do not."""


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name; a package by its own, as its `__init__.py`."""
    found = {}
    for room in ("gossip", "node", "manager", "simulations"):
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_shell(module: str) -> bool:
    return any(module == shell or module.startswith(f"{shell}.") for shell in SHELLS)


def names_used(code: str) -> Iterator[tuple[str, str]]:
    """(`time`, `monotonic`) for `from time import monotonic`, and for `time.monotonic` of `import time`."""
    tree = list(ast.walk(ast.parse(code)))
    imported = {
        alias.name for node in tree if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    }
    for node in tree:
        match node:
            case ast.Import(names):
                yield from ((alias.name, "") for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((module, alias.name) for alias in names)
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in imported:
                yield owner, name
            case ast.Call(func=ast.Name(id="Random"), args=[]):
                yield "random", "Random()"  # seeds itself from the system's entropy
            case _:
                pass


def touches_the_world(owner: str, name: str) -> bool:
    module, *inside = f"{owner}.{name}".rstrip(".").split(".")
    return module in THE_WORLD and bool(inside) and inside[0] not in THE_WORLD[module]


def offences(code: str) -> list[str]:
    """What a core does in `code` that only a shell may."""
    return [
        f"{owner}.{name}"
        for owner, name in names_used(code)
        if touches_the_world(owner, name) or is_shell(owner) or is_shell(f"{owner}.{name}")
    ]


@pytest.mark.parametrize("module", [module for module in modules() if not is_shell(module)])
def test_a_core_does_not_touch_the_world(module: str) -> None:
    assert offences(modules()[module].read_text()) == [], f"give {module} what it takes, or add it to SHELLS"


def test_shells_exist() -> None:
    assert set(SHELLS) <= set(modules())


@pytest.mark.parametrize(
    "code",
    [
        "from time import monotonic",
        "import time\ntime.monotonic()",
        "import asyncio.subprocess",
        "from os import path",
        "from random import Random\nRandom()",
        "from random import choice",
        "from datetime import datetime\ndatetime.now()",
        "import logging\nlogging.getLogger()",
        "from node import state",
        "from node.state import load",
        "def late():\n    import node.gateways.command",
    ],
)
def test_what_touches_the_world_is_seen(code: str) -> None:
    assert offences(code)
