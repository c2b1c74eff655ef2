"""Who belongs to the group, by an operator's word, and who of it answers."""

import asyncio
from typing import Any

from aiohttp import web

from gossip.errors import ForceLeaveRefused
from manager import checks, reaching, views
from manager.config.schema import GOSSIP_PORT
from manager.meant import did_you_mean
from manager.web.ask import ask_others
from manager.web.operations import Operations
from manager.web.problems import problem
from manager.web.query import flag, json_object, known
from manager.web.shared import CALLER, CHANGE, OPERATIONS
from node.settings import parse_locator

REACH_SECONDS_MAX = 4.0
"""Other managers wait for their members' answers before they answer us."""
_PEERS_MAX = 20

routes = web.RouteTableDef()


@routes.post("/api/v1/join")
async def join(request: web.Request) -> web.Response:
    """`{"peers": [PEER]}`, as in `peers` of the file: met now and once, not looked for later."""
    operations = request.app[OPERATIONS]
    peers = (await json_object(request, {"peers"})).get("peers")
    if not isinstance(peers, list) or not 0 < len(peers) <= _PEERS_MAX:
        return problem(400, f"peers must be a list of 1 to {_PEERS_MAX} addresses")
    if not all(isinstance(peer, str) for peer in peers):
        return problem(400, "a peer must be text")
    if operations.core.going:
        return problem(409, "this manager is leaving the group")
    outcomes = await asyncio.gather(*(_tried(operations, peer) for peer in peers))
    tried = [one for outcome in outcomes for one in outcome]
    reached = sorted({name for one in tried for name in one["members"]})
    if not reached:
        whys = "; ".join(f"{one['address']}: {one['why']}" for one in tried)
        return problem(409, f"nobody was reached: {whys}")
    request[CHANGE] = f"joined by {', '.join(peers)}: reached {', '.join(reached)}"
    return web.json_response({"reached": reached, "tried": tried})


async def _tried(operations: Operations, peer: str) -> list[dict[str, Any]]:
    """What became of each address of `peer`."""
    try:
        wanted = str(parse_locator(peer, GOSSIP_PORT))
    except ValueError as error:
        return [{"address": peer[:255], "members": [], "why": str(error)}]
    outcome = await operations.join(wanted)
    if not outcome:
        return [{"address": wanted, "members": [], "why": "the name is not known here"}]
    return [
        {"address": address, "members": list(found.members), "why": found.why}
        for address, found in outcome.items()
    ]


@routes.get("/api/v1/checks")
async def look_at_itself(request: web.Request) -> web.Response:
    """What this manager finds amiss with its own address, its peers' names, its key, its certificate."""
    known(request)
    return web.json_response({"checks": list(checks.rows(await request.app[OPERATIONS].examine()))})


@routes.get("/api/v1/reachability")
async def reachability(request: web.Request) -> web.Response:
    """Who answers whom when every manager asks every member; `?local=1`: only this one asks."""
    known(request, "local")
    operations = request.app[OPERATIONS]
    name = operations.core.name
    managers: dict[str, int] = {"asked": 1, "answered": 1}
    others: dict[str, dict[str, Any]] = {}
    if flag(request, "local"):
        own = reaching.view(await operations.reach())
    else:
        reached, (managers, others) = await asyncio.gather(
            operations.reach(),
            ask_others(operations, "/api/v1/reachability", {}, reaching.views_in, REACH_SECONDS_MAX),
        )
        own = reaching.view(reached)
    found = {name: own, **{other: answer[other] for other, answer in others.items() if other in answer}}
    found = {viewer: found[viewer] for viewer in sorted(found)}
    return web.json_response(
        {
            "managers": managers,
            "views": found,
            "silent": reaching.silent(found),
            "findings": reaching.findings(found),
        }
    )


@routes.post("/api/v1/force-leave")
async def force_leave(request: web.Request) -> web.Response:
    """`{"name": MEMBER, "prune": BOOL}`: it is dead and not expected back; pruned, not listed either."""
    operations = request.app[OPERATIONS]
    body = await json_object(request, {"name", "prune"})
    name, prune = body.get("name"), body.get("prune", False)
    if not isinstance(name, str):
        return problem(400, "name must be that of a member")
    if not isinstance(prune, bool):
        return problem(400, "prune must be true or false")
    try:
        await operations.force_leave(name, request[CALLER].who, prune=prune)
    except KeyError:
        members = [member["name"] for member in views.members_view(operations.core)["members"]]
        near = did_you_mean(name, members) or "; `kcm members` lists them (GET /api/v1/members)"
        return problem(404, f"no member is called {name[:100]!r}{near}")
    except ForceLeaveRefused as error:
        return problem(409, str(error))
    request[CHANGE] = f"member {name} is declared gone" + (", and no longer listed" if prune else "")
    return web.json_response(views.members_view(operations.core))
