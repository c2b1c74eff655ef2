"""What the files under deploy/ are held to: our own programs, keys, ports and routes."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import yaml
from aiohttp import web

from manager.config.schema import ManagerFile
from manager.web.app import all_routes
from node.api import create_app
from node.config import NodeSettings
from node.settings import Loaded, Settings, load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAMS: set[str] = set(PROJECT["project"]["scripts"])
USER = 10001
"""Whom everything runs as in a container."""
DEFAULTS = ManagerFile()
MANAGER_PORTS = {
    ("node", DEFAULTS.node_port, "TCP"),
    ("gossip", DEFAULTS.gossip_port, "TCP"),
    ("gossip-udp", DEFAULTS.gossip_port, "UDP"),
    ("http", DEFAULTS.http_port, "TCP"),
}
"""As they are by default."""
Model = TypeVar("Model", bound=Settings)


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def manager_file(environ: Mapping[str, str], file: Path | None = None) -> ManagerFile:
    """The configuration of a manager with these; nothing in it may be odd."""
    return _nothing_odd(load(ManagerFile, prefix="KCM_", file=file, environ=environ))


def node_settings(environ: Mapping[str, str], file: Path | None = None) -> NodeSettings:
    """The same of a node."""
    renamed = {"seed": "KRAKEND_SEED"}
    return _nothing_odd(
        load(NodeSettings, prefix="KRAKEND_NODE_", file=file, environ=environ, renamed=renamed)
    )


def _nothing_odd(loaded: Loaded[Model]) -> Model:
    assert not loaded.warnings
    return loaded.settings


def paths(of: str) -> set[str]:
    """What a manager, or the agent, answers."""
    if of == "manager":
        return {route.path for route in all_routes() if isinstance(route, web.RouteDef)}
    resources = create_app(SimpleNamespace()).router.resources()
    return {resource.canonical for resource in resources}
