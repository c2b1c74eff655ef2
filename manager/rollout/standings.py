"""What the nodes say that they run, and whether they are in service: on the page of whoever serves each.

A manager writes what its own nodes say (`runs/<id>`), and reads what the others wrote.
"""

from math import inf

from gossip.group import Group
from gossip.ledger import PageFull
from manager.outbox import Outbox
from manager.records import RUNS, NodeState, Runs, SessionKey, kind_of
from manager.registry import NodeView, Registry
from manager.rollout.conductor import Standing
from node.protocol import ConfigState


class Standings:
    """All that stands on the pages, by the ids of the nodes."""

    def __init__(self, group: Group, registry: Registry, outbox: Outbox) -> None:
        self.asking: dict[str, float] = {}
        """Since when nodes ask for a turn to take limits, infinite where that is new. For `Restarts`."""
        self._group = group
        self._registry = registry
        self._outbox = outbox
        self._runs: dict[str, dict[str, Runs]] = {}
        """By owner of the page, then by id."""

    def says(self, id_: str) -> ConfigState | None:
        """What a node said last in its present session; None where nothing is known of that."""
        view = self._registry.view(id_)
        runs = None if view is None else self._runs.get(view.manager, {}).get(id_)
        return None if view is None or runs is None or runs.session != view.record.session else runs.config

    def of(self, kind: str) -> list[Standing]:
        """The nodes of `kind` that run and take configurations, by id."""
        found = []
        for view in self._registry.views():
            if view.running and (standing := self._of_view(view, kind)) is not None:
                found.append(standing)
        return found

    def one(self, id_: str) -> Standing | None:
        """The same of one node, which is known."""
        view = self._registry.view(id_)
        return None if view is None else self._of_view(view, kind_of(view.record.gateway))

    def _of_view(self, view: NodeView, kind: str) -> Standing | None:
        runs = self._runs.get(view.manager, {}).get(view.id)
        active = view.state is NodeState.ACTIVE
        if runs is None or runs.session != view.record.session:
            # Its manager has started anew, or it has just moved: what it runs is not known for the moment.
            if kind_of(view.record.gateway) != kind or active:
                return None
            return Standing(view.id, view.record.session, False, ConfigState(ready=False))
        if runs.kind != kind or not runs.config.managed:
            return None
        return Standing(view.id, view.record.session, active, runs.config)

    def kind_of(self, id_: str) -> str:
        """Of its gateway; empty where nobody knows the node."""
        view = self._registry.view(id_)
        return "" if view is None else kind_of(view.record.gateway)

    def out(self, kind: str) -> set[str]:
        """The nodes of `kind` that run and are not in service, for whatever reason."""
        out = set()
        for view in self._registry.views():
            if view.running and kind_of(view.record.gateway) == kind:
                said = self.says(view.id)
                if view.state is not NodeState.ACTIVE or (said is not None and not said.ready):
                    out.add(view.id)
        return out

    def managers_of(self, kind: str) -> list[str]:
        """Those that a node of `kind` is connected to which takes configurations, by name."""
        active = {standing.id for standing in self.of(kind) if standing.active}
        return sorted({view.manager for view in self._registry.views() if view.id in active})

    def takes(self, id_: str) -> bool:
        """Whether a node of ours takes configurations."""
        runs = self._runs.get(self._group.name, {}).get(id_)
        return runs is not None and runs.config.managed

    # What changes

    def reported(self, id_: str, kind: str, session: SessionKey, config: ConfigState) -> None:
        """A node that is connected here says so, in that session; dropped where the page has no room."""
        runs, owner, ledger = Runs(kind, *session, config), self._group.name, self._group.ledger
        if self._runs.get(owner, {}).get(id_) == runs:
            return
        value, before = runs.pack(), ledger.own.get(RUNS + id_)
        # The reserve is not for news, of which there are as many as nodes: the next report says it again.
        grows = before is None or len(before) < len(value)
        try:
            ledger.put(RUNS + id_, value, ends_something=not grows)
        except PageFull:
            self._outbox.count("ledger", "page_full")
            return
        self._runs.setdefault(owner, {})[id_] = runs
        self._note_question(id_, config)

    def _note_question(self, id_: str, config: ConfigState) -> None:
        if config.restart_asked:
            self.asking.setdefault(id_, inf)

    def page_changed(self, owner: str, key: str, value: bytes | None) -> None:
        """Read what `owner`'s page says under `key`."""
        if not key.startswith(RUNS):
            return
        runs, id_ = self._runs.setdefault(owner, {}), key[len(RUNS) :]
        try:
            if value is not None:
                runs[id_] = Runs.unpack(value)
                self._note_question(id_, runs[id_].config)
        except ValueError:
            self._outbox.count("ledger", "bad_record")
        if value is None:
            runs.pop(id_, None)

    def tidy(self) -> None:
        """Forget what stands about nodes that are served elsewhere, or forgotten."""
        for id_, runs in list(self._runs.get(self._group.name, {}).items()):
            view = self._registry.view(id_)
            if view is None or view.manager != self._group.name or view.record.session > runs.session:
                self._group.ledger.delete(RUNS + id_)
                self._runs[self._group.name].pop(id_, None)
