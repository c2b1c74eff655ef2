"""Which node a word means: an id, or a name where it is unambiguous."""

from aiohttp import web

from manager.core import Manager
from manager.meant import did_you_mean
from manager.registry import NodeView

CANDIDATES_MAX = 5


def find_node(core: Manager, word: str, *, running: bool = True) -> NodeView:
    """The node of this id or name. Raises the 404 or 409 that names the candidates.

    A name that one running node has means that one, although nodes that are gone had it too; not without
    `running`, where somebody may mean one of these.
    """
    if (view := core.registry.view(word)) is not None and view.shown:
        return view
    named = [view for view in core.registry.unordered() if view.record.name == word]
    if running and len(alive := [view for view in named if view.running]) == 1:
        return alive[0]
    if len(named) == 1:
        return named[0]
    if named:
        ids = _listed([f"{view.id} ({view.state.value})" for view in named])
        raise web.HTTPConflict(
            text=f"{len(named)} nodes have the name {word[:100]!r}, name one by its id: {ids}"
        )
    raise web.HTTPNotFound(text=f"no node has the id or the name {word[:100]!r}{_alike(core, word)}")


def _alike(core: Manager, word: str) -> str:
    """What may have been meant: where one text holds the other, or a few letters differ."""
    low = word.lower()
    alike = [
        f"{view.record.name} ({view.id})"
        for view in core.registry.unordered()
        if low and (low in view.record.name.lower() or view.id.startswith(word))
    ]
    if not alike:
        near = did_you_mean(word, (view.record.name for view in core.registry.unordered()))
        return near or "; `kcm nodes` lists them (GET /api/v1/nodes)"
    return f"; these are like it: {_listed(alike)}"


def _listed(texts: list[str]) -> str:
    more = len(texts) - CANDIDATES_MAX
    return ", ".join(sorted(texts)[:CANDIDATES_MAX]) + (f" and {more} more" if more > 0 else "")
