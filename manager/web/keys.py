"""The keys of the group over HTTP. They are named by fingerprints: no answer and no error tells a key."""

from typing import Any

from aiohttp import web

from gossip.effects import KeysDone
from gossip.key_messages import Verb
from gossip.keys import KeysRefused
from gossip.wire import fingerprint, read_key
from manager.web.operations import Operations
from manager.web.problems import problem
from manager.web.query import json_object, known
from manager.web.shared import CHANGE, OPERATIONS

_FIELDS = {"key", "without"}
_KEY_CHARS_MAX = 100
_NAMES_MAX = 1000

routes = web.RouteTableDef()


@routes.get("/api/v1/keys")
async def listed(request: web.Request) -> web.Response:
    """What each member has. Only for who may change it: it says by which keys people could be tempted."""
    known(request)
    return await _done(request.app[OPERATIONS], Verb.LIST, "", [])


@routes.post("/api/v1/keys")
async def install(request: web.Request) -> web.Response:
    return await _changed(request, Verb.INSTALL)


@routes.put("/api/v1/keys")
async def use(request: web.Request) -> web.Response:
    return await _changed(request, Verb.USE)


@routes.delete("/api/v1/keys")
async def remove(request: web.Request) -> web.Response:
    return await _changed(request, Verb.REMOVE)


async def _changed(request: web.Request, verb: Verb) -> web.Response:
    """`{"key": KEY, "without": [NAME]}`: KEY in base64, or the fingerprint of one that this manager has."""
    body = await json_object(request, _FIELDS)
    key, without = body.get("key"), body.get("without", [])
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_CHARS_MAX:
        return problem(400, "key must be a key in base64 or a fingerprint")
    if not (isinstance(without, list) and all(isinstance(name, str) for name in without)):
        return problem(400, "without must be a list of names")
    answer = await _done(request.app[OPERATIONS], verb, key, without[:_NAMES_MAX])
    if answer.status == 200:
        request[CHANGE] = f"gossip keys: {verb.value} {_as_told(key)}"
    return answer


def _as_told(key: str) -> str:
    """A key as it may be told: by its fingerprint."""
    try:
        return fingerprint(read_key(key))
    except ValueError:
        return key


async def _done(operations: Operations, verb: Verb, key: str, without: list[str]) -> web.Response:
    try:
        done = await operations.change_keys(verb, key, without)
    except KeysRefused as error:
        return problem(409, str(error))
    return problem(409, done.problem) if done.problem else web.json_response(view(done))


def view(done: KeysDone) -> dict[str, Any]:
    """Key by key, those in use first: who has it, who seals with it; and who did not say what it has."""
    fingerprints = sorted({key for _, held in done.found for key in held})
    keys = [
        {
            "fingerprint": key,
            "in_use": [name for name, held in done.found if held[:1] == (key,)],
            "installed": [name for name, held in done.found if key in held],
        }
        for key in fingerprints
    ]
    return {
        "keys": sorted(keys, key=lambda key: not key["in_use"]),
        "members": len(done.found),
        "missing": [{"name": name, "why": why} for name, why in done.missing],
    }
