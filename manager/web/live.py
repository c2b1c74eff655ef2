"""Events: page by page as JSON, or as they happen as a stream (server-sent events)."""

import asyncio
import json
from typing import Any

from aiohttp import web

from manager import views
from manager.events import Event
from manager.version import installed_version
from manager.web.operations import Operations
from manager.web.problems import problem
from manager.web.query import known, whole
from manager.web.shared import OPERATIONS, STARTED, STREAMS

STREAMS_MAX = 200
"""Live streams of one manager; whoever comes later is told to try another one."""
WRITE_SECONDS_MAX = 10.0
"""A reader that has not taken an event by then is let go."""
_LOOK_EVERY = 0.2
_SUMMARY_EVERY = 1.0
_ALIVE_EVERY = 3.0
_AT_ONCE_MAX = 500
_ID_MAX = 2**53 - 1

routes = web.RouteTableDef()


@routes.get("/api/v1/events")
async def events(request: web.Request) -> web.StreamResponse:
    """Newest first, from `cursor` on; whoever accepts `text/event-stream` gets those to come."""
    known(request, "cursor", "limit", "subject", "after")
    operations = request.app[OPERATIONS]
    after = whole(request, "after", 0, 0, _ID_MAX)
    if "text/event-stream" in request.headers.get("Accept", ""):
        return await _stream(request, operations, after)
    log = operations.core.events
    before = whole(request, "cursor", _ID_MAX, 0, _ID_MAX)
    limit = whole(request, "limit", 100, 1, 1_000)
    found = log.before(before, limit + 1, request.query.get("subject"))
    shown = found[:limit]
    return web.json_response(
        {
            "events": [views.event_view(event) for event in shown],
            "next": shown[-1].id if len(shown) < len(found) else None,
        }
    )


async def _stream(request: web.Request, operations: Operations, after: int) -> web.StreamResponse:
    streams = request.app[STREAMS]
    if len(streams) >= STREAMS_MAX:
        operations.count("http", "too_many_streams")
        return problem(503, f"{STREAMS_MAX} live streams are open at this manager: ask another one")
    said = request.headers.get("Last-Event-ID", "")
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    stream.enable_chunked_encoding()
    task = asyncio.current_task()
    assert task is not None
    streams.add(task)
    try:
        await stream.prepare(request)
        if request.method == "HEAD":
            return stream
        if said.isascii() and said.isdigit() and len(said) < 17:
            after = int(said)
        await _Stream(stream, operations, request.app[STARTED]).run(after)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        streams.discard(task)
    return stream


async def end_streams(app: web.Application) -> None:
    """Let every reader go, so that the server can stop."""
    for task in [*app[STREAMS]]:
        task.cancel()


def summary_of(operations: Operations, started: float) -> dict[str, Any]:
    """What the page shows of everything but nodes: small, whatever the size of the cluster."""
    core = operations.core
    return {
        "info": views.info_view(core, installed_version(), operations.now() - started),
        **views.members_view(core),
        "subscription": views.subscription_view(core, operations.now()),
        "limits": views.cluster_limits_view(core),
        "rollouts": [
            {"kind": kind, "version": plan.target, "phase": plan.phase.value}
            for kind, (_, plan) in sorted(core.configs.plans().items())
        ],
    }


class _Stream:
    """One reader: a `summary` whenever it changes, a `change` for each event, and `alive` in between.

    `reset` says that events were missed, so that the reader asks for all nodes anew.
    """

    def __init__(self, stream: web.StreamResponse, operations: Operations, started: float) -> None:
        self._out = stream
        self._operations = operations
        self._started = started
        self._told: dict[str, Any] = {}

    async def run(self, after: int) -> None:
        """Until the reader goes, or this manager."""
        log, now = self._operations.core.events, self._operations.now
        summary_at = alive_at = now()
        while True:
            if not log.holds_all_since(after):
                after = log.last
                await self._say("reset", {}, after)
            if summary_at <= now():
                summary_at = now() + _SUMMARY_EVERY
                await self._say_summary()
            for event in log.after(after, _AT_ONCE_MAX):
                await self._say("change", self._with_node(event), event.id)
                after, alive_at = event.id, now() + _ALIVE_EVERY
            if alive_at <= now():
                alive_at = now() + _ALIVE_EVERY
                await self._say("alive", {})
            await asyncio.sleep(_LOOK_EVERY)

    def _with_node(self, event: Event) -> dict[str, Any]:
        core = self._operations.core
        view = core.registry.view(event.subject) if event.kind in ("node", "gateway") else None
        node = views.node_view(core, view) if view is not None and view.shown else None
        return {**views.event_view(event), "node": node}

    async def _say_summary(self) -> None:
        summary = summary_of(self._operations, self._started)
        compared = {**summary, "info": {**summary["info"], "up_for": 0}}
        if compared != self._told:
            self._told = compared
            await self._say("summary", summary)

    async def _say(self, event: str, data: dict[str, Any], id_: int | None = None) -> None:
        number = "" if id_ is None else f"id: {id_}\n"
        text = f"event: {event}\n{number}data: {json.dumps(data)}\n\n"
        await asyncio.wait_for(self._out.write(text.encode()), WRITE_SECONDS_MAX)
