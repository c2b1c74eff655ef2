"""The nodes as other programs take them: targets of Prometheus, servers of HAProxy and nginx."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from aiohttp import web

from manager.records import NodeState
from manager.registry import NodeView
from manager.web.query import known, whole
from manager.web.shared import OPERATIONS

routes = web.RouteTableDef()

_NOT_WELL = frozenset({"starting", "unhealthy", "restarting", "stopping", "stopped"})
"""What a node says of a gateway that gets no traffic."""


@routes.get("/api/v1/sd/prometheus")
async def prometheus(request: web.Request) -> web.Response:
    """For `http_sd_configs`: the agents' metrics, at `port` of every node that runs."""
    targets = [
        {
            "targets": [target],
            "labels": {
                "__meta_kcm_id": view.id,
                "__meta_kcm_name": view.record.name,
                "__meta_kcm_state": view.state,
            },
        }
        for view, target in _targets(request, 9898, frozenset({NodeState.ACTIVE, NodeState.UNREACHABLE}))
    ]
    return web.json_response(targets)


@routes.get("/api/v1/sd/haproxy")
async def haproxy(request: web.Request) -> web.Response:
    """A `server` line for each node in service, for a backend section."""
    lines = [f"server {_word(view)} {target} check\n" for view, target in _servers(request)]
    return web.Response(text="".join(lines))


@routes.get("/api/v1/sd/nginx")
async def nginx(request: web.Request) -> web.Response:
    """A `server` line for each node in service, to be included in an upstream block."""
    return web.Response(text="".join(f"server {target};\n" for _, target in _servers(request)))


def _servers(request: web.Request) -> Iterator[tuple[NodeView, str]]:
    """Active nodes that get traffic: neither drained nor cordoned, and with a gateway that is well."""
    standings = request.app[OPERATIONS].core.rollouts.standings
    for view, target in _targets(request, 8080):
        said = standings.says(view.id)
        out = said is not None and (not said.ready or bool(said.service))
        if not out and view.record.gateway.partition(": ")[2] not in _NOT_WELL:
            yield view, target


def _targets(
    request: web.Request, default: int, states: frozenset[NodeState] = frozenset({NodeState.ACTIVE})
) -> Iterator[tuple[NodeView, str]]:
    known(request, "port")
    port = whole(request, "port", default, 1, 65535)
    for view in request.app[OPERATIONS].core.registry.views():
        try:
            ip = ip_address(view.record.address)
        except ValueError:
            # A node may give any text for its address: it is no target, and no line of a configuration.
            continue
        if view.state in states:
            yield view, f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def _word(view: NodeView) -> str:
    """Its name for HAProxy, which takes no spaces; the id keeps two of one name apart."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", view.record.name)[:60]
    return f"{name}_{view.id[-12:]}"
