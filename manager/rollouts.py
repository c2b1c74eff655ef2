"""What takes nodes out of service: configurations on their way to them, and operators' orders.

Each manager writes what its own nodes run (`runs/<id>`). A plan's conductor writes who may be out
(`turn/<id>`); the node's manager passes that on as a permit, in the session that the turn names (rule T1).
Orders are passed on likewise (`manager/orders.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType

from gossip.group import Group
from manager.configs import Configs
from manager.effects import Level
from manager.founders import Founders
from manager.orders import Action, Mark, Order, OrderError, Orders, has_restarted, has_started_anew
from manager.outbox import Outbox
from manager.plan import Phase, Plan, PlanError
from manager.records import (
    ANEW,
    CONNECTION_ENDED,
    HOLDS,
    RESTART,
    RUNS,
    TURN,
    NodeState,
    Runs,
    Setting,
    Turn,
    kind_of,
    pack_names,
    unpack_names,
)
from manager.registry import NodeView, Registry
from manager.rollout import Conductor, Standing, Step, is_back
from manager.tally import HASH_CHARS, NO_BUCKETS, Tallies, Tally
from manager.tryouts import Tryouts
from manager.turns import WHATS, Turns
from node import protocol
from node.protocol import CHUNK_BYTES_MAX, Chunk, ConfigState, Data, Permit, Wanted

NONE: Mapping[str, float] = MappingProxyType({})
_WHY = {
    TURN: "to take its configuration",
    RESTART: "to be restarted",
    ANEW: "to be restarted for its limits",
}
TIDY_EVERY = 5.0
"""What stands about nodes that are served elsewhere, or forgotten, goes no sooner."""


@dataclass(slots=True)
class _Here:
    """A node that is connected here and let in. `told`: the plan, `ordered`: the order, told of last."""

    conn: int
    order: tuple[int, int]
    kind: str
    told: tuple[int, str] = (0, "")
    permitted: Turn | None = None
    ordered: Mark = (0, "")
    let_anew: Turn | None = None
    """By which it may restart for limits."""


class Rollouts:
    """`configs` has the plans; whoever changes one calls `plan_changed`."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        configs: Configs,
        outbox: Outbox,
        founders: Founders | None = None,
    ) -> None:
        """`founders`: who give the turns, where there are any."""
        self.configs = configs
        self.orders = Orders(group, outbox)
        """What operators want of single nodes. To be read."""
        self._group = group
        self._registry = registry
        self._outbox = outbox
        self._here: dict[str, _Here] = {}
        self._runs: dict[str, dict[str, Runs]] = {}
        """By owner of the page, then by id."""
        self._turns = Turns(group, outbox, founders, self._holds)
        self._conductors: dict[str, Conductor] = {}
        self._steps: dict[str, Step] = {}
        self._tallies = Tallies(group, outbox)
        self.tryouts = Tryouts(outbox)
        """What gateways here are only asked about."""
        self._tidy_at = 0.0
        self._asking: dict[str, float] = {}
        """Since when nodes ask for a turn to take limits; infinite where that is new."""
        self._seen: tuple[object, ...] | None = None

    # What there is to see

    def step(self, kind: str) -> Step:
        """How far the rollout for `kind` is, as of the last sweep."""
        return self._steps.get(kind, Step())

    def answered(self, kind: str, plan: Plan) -> Tally:
        """What gateways of `kind` answered since its rollout began."""
        return self._tallies.of(kind, plan.wanted.sha256, sorted(self._alive()))

    def _alive(self) -> set[str]:
        return {self._group.name, *(member.name for member in self._group.kin())}

    def standings(self, kind: str) -> list[Standing]:
        """The nodes of `kind` that run and take configurations, by id."""
        found = []
        for view in self._registry.views():
            if view.running and (standing := self._standing(view, kind)) is not None:
                found.append(standing)
        return found

    def held(self, kind: str) -> dict[str, Turn]:
        """The turns of any manager's that have not come back, by the ids of nodes of `kind`."""
        return self._turns.held(kind)

    def _holds(self, what: str, id_: str, turn: Turn) -> str:
        """As `Turns` asks it."""
        kind = self._kind_of(id_)
        if what in (RESTART, ANEW):
            back = self._has_restarted(what, id_, turn)
        else:
            found = self.configs.get(kind)
            back = self._is_back(id_, turn, None if found is None else found[1])
        return "" if back else kind

    def says(self, id_: str) -> ConfigState | None:
        """What a node said last in its present session; None where nothing is known of that."""
        view = self._registry.view(id_)
        runs = None if view is None else self._runs.get(view.manager, {}).get(id_)
        return None if view is None or runs is None or _order(runs) != view.record.order else runs.config

    def ordered(self, id_: str) -> tuple[Mark, Order] | None:
        """What an operator wants of a node, and it has not taken yet."""
        newest, said = self.orders.newest(id_), self.says(id_)
        if newest is not None and said is not None and newest[0] <= (said.order_serial, said.order_writer):
            return None
        return newest

    def waits_for(self, id_: str) -> str:
        """What the order waits for that a node has not taken yet."""
        found, view = self.ordered(id_), self._registry.view(id_)
        if found is None or view is None:
            return ""
        mark, order = found
        if view.state is not NodeState.ACTIVE:
            return f"it is {view.state.value}: it takes the order when it is connected again"
        if order.action is not Action.RESTART or self._may_restart(id_, mark, view.record.order):
            return f"its agent, which manager {view.manager} tells"
        kind = kind_of(view.record.gateway)
        out = sorted({*self.held(kind), *self._out(kind)} - {id_})
        names = f"out of service are {', '.join(out[:3])}; " if out else ""
        most = self._max_unavailable(kind)
        why = self._turns.refusal(kind, most) or f"max_unavailable is {most}"
        return f"a turn, which manager {self._teller(kind)} gives: {names}{why}"

    def _may_restart(self, id_: str, mark: Mark, session: tuple[int, int]) -> bool:
        return self._turns.has(RESTART, id_, Turn(*mark, session), None)

    # Nodes here

    def joined(self, id_: str, conn: int, order: tuple[int, int], kind: str, now_runs: ConfigState) -> None:
        """A node of `kind` is let in."""
        self._here[id_] = _Here(conn, order, kind)
        self.reported(id_, order, now_runs)
        self._tell(id_)

    def left(self, id_: str, conn: int) -> None:
        """Its connection here is over."""
        here = self._here.get(id_)
        if here is not None and here.conn == conn:
            del self._here[id_]
            self._tallies.left(id_)
            self.tryouts.left(id_)

    def reported(
        self,
        id_: str,
        order: tuple[int, int],
        config: ConfigState,
        counters: Mapping[str, float] = NONE,
        buckets: Mapping[int, float] = NO_BUCKETS,
    ) -> None:
        """What a node here says of its configuration, and of what its gateway has answered so far."""
        here = self._here.get(id_)
        if here is None or here.order != order:
            return
        says = config.managed, config.running, config.order_serial, config.service
        if not any((*says, config.restart_asked, config.restart_taken)):
            return
        self._tallies.reported(id_, order, here.kind, config.running, counters, buckets)
        runs = Runs(here.kind, *order, config)
        owner = self._group.name
        if self._runs.get(owner, {}).get(id_) != runs:
            self._group.ledger.put(RUNS + id_, runs.pack(), ends_something=True)
            self._runs.setdefault(owner, {})[id_] = runs
            self._note_question(id_, config)

    def _note_question(self, id_: str, config: ConfigState) -> None:
        if config.restart_asked:
            self._asking.setdefault(id_, inf)

    def fetch(self, conn: int, hash_: str, offset: int) -> None:
        """A node asks for a part of a configuration."""
        content = self.configs.content(hash_)
        if content is None:
            content = self.tryouts.content(hash_)
        data = Data(content[offset : offset + CHUNK_BYTES_MAX])
        self._outbox.say(conn, Chunk(sha256=hash_, offset=offset, data=data))

    def tries_out(self, kind: str) -> bool:
        """Whether `try_out` finds somebody."""
        return self._trier(kind) is not None

    def managers_of(self, kind: str) -> list[str]:
        """Those that a node of `kind` is connected to which takes configurations, by name."""
        active = {standing.id for standing in self.standings(kind) if standing.active}
        return sorted({view.manager for view in self._registry.views() if view.id in active})

    def _trier(self, kind: str) -> tuple[str, _Here] | None:
        for id_, here in sorted(self._here.items()):
            runs = self._runs.get(self._group.name, {}).get(id_)
            if here.kind == kind and runs is not None and runs.config.managed:
                return id_, here
        return None

    def try_out(self, kind: str, hash_: str, content: bytes) -> int:
        """Let a node of `kind` that is connected here check `content`; `TrialDone` of this number follows.

        Raises `PlanError` where there is none.
        """
        found = self._trier(kind)
        if found is None:
            raise PlanError(f"no node of kind {kind} that takes configurations is connected to it")
        id_, here = found
        return self.tryouts.begin(id_, here.conn, hash_, content)

    # What operators want of single nodes

    def order(self, id_: str, action: Action, by: str, now: float) -> Order:
        """Let a node do it. Raises `OrderError`, `KeyError` where nobody knows the node."""
        view = self._registry.view(id_)
        if view is None or not view.shown:
            raise KeyError(id_)
        if view.state is NodeState.REFUSED:
            raise OrderError("it was refused, and gets no orders: see `kcm explain` for why")
        if action is Action.RESTART and view.state is not NodeState.ACTIVE:
            raise OrderError(
                f"it is {view.state.value}, and no manager can tell it: restart its agent on its host, "
                "which starts the gateway too"
            )
        said = self.says(id_)
        order = self.orders.give(
            id_, action, by, 0 if said is None else said.order_serial, self._group.wall(now)
        )
        self._outbox.log(Level.INFO, f"{id_} is to {action.value}, by {by}")
        self._tell(id_)
        return order

    def _let_restart(self, now: float) -> None:
        """Give turns to those that are to be restarted, where that is ours, the longest waiting first."""
        waiting: dict[str, list[tuple[float, str, Mark]]] = {}
        for id_ in self.orders.ids():
            found, view = self.ordered(id_), self._registry.view(id_)
            if found is not None and found[1].action is Action.RESTART and view is not None:
                kind = kind_of(view.record.gateway)
                if view.state is NodeState.ACTIVE and self._teller(kind) == self._group.name:
                    waiting.setdefault(kind, []).append((found[1].at, id_, found[0]))
        for kind, nodes in sorted(waiting.items()):
            self._give_in_turn(RESTART, kind, sorted(nodes), now)

    def _let_start_anew(self, now: float) -> None:
        """The same for nodes that ask for a turn to take limits: whoever has asked for longest first."""
        waiting: dict[str, list[tuple[float, str, Mark]]] = {}
        for id_, since in list(self._asking.items()):
            view, said = self._registry.view(id_), self.says(id_)
            if view is None or said is None or not said.restart_asked:
                del self._asking[id_]
                continue
            since = self._asking[id_] = min(since, now)
            kind = kind_of(view.record.gateway)
            if view.state is NodeState.ACTIVE and self._teller(kind) == self._group.name:
                waiting.setdefault(kind, []).append((since, id_, (said.restart_asked, "")))
        for kind, nodes in sorted(waiting.items()):
            self._give_in_turn(ANEW, kind, sorted(nodes), now)

    def _give_in_turn(
        self, what: str, kind: str, nodes: Iterable[tuple[float, str, Mark]], now: float
    ) -> None:
        held, out = {*self.held(kind), *self._turns.wanted(kind)}, self._out(kind)
        room = self._max_unavailable(kind) - len(held) - len(out - held)
        for _, id_, mark in nodes:
            # Whoever is out already is not taken out by us.
            if id_ in held or (id_ not in out and room <= 0):
                continue
            room -= id_ not in out
            view = self._registry.view(id_)
            assert view is not None
            self._want(what, id_, Turn(*mark, view.record.order), kind, now)

    def _want(self, what: str, id_: str, turn: Turn, kind: str, now: float) -> None:
        if self._turns.want(what, id_, turn, kind, self._max_unavailable(kind), now):
            self._given(what, id_)

    def _given(self, what: str, id_: str) -> None:
        self._outbox.log(Level.INFO, f"{id_} may go out of service, {_WHY[what]}")
        self._tell(id_)

    def _answer_wants(self) -> None:
        """As a founder, give turns to those who are asked for, as long as there are some of ours."""
        for id_, want in self._turns.asked():
            view, kind, turn = self._registry.view(id_), self._kind_of(id_), want.turn
            if view is None or not kind or view.record.order != turn.order:
                continue
            if want.what == RESTART:
                ordered = self.ordered(id_)
                stands = ordered is not None and ordered[0] == (turn.serial, turn.writer)
            elif want.what == ANEW:
                said = self.says(id_)
                stands = said is not None and said.restart_asked == turn.serial
            else:
                found = self.configs.get(kind)
                stands = found is not None and _mark(found[0]) == (turn.serial, turn.writer)
            if stands and self._turns.can_give(id_, kind, self._max_unavailable(kind)):
                self._turns.give(want.what, id_, turn)
                self._given(want.what, id_)

    def _max_unavailable(self, kind: str) -> int:
        found = self.configs.get(kind)
        return 1 if found is None else found[1].max_unavailable

    def _teller(self, kind: str) -> str:
        """Who gives turns for restarts: the conductor for `kind`, else the first manager alive, by name."""
        alive = self._alive()
        found = self.configs.get(kind)
        return found[0].writer if found is not None and found[0].writer in alive else min(alive)

    def _out(self, kind: str) -> set[str]:
        """The nodes of `kind` that run and are not in service, for whatever reason."""
        out = set()
        for view in self._registry.views():
            if view.running and kind_of(view.record.gateway) == kind:
                said = self.says(view.id)
                if view.state is not NodeState.ACTIVE or (said is not None and not said.ready):
                    out.add(view.id)
        return out

    def _has_restarted(self, what: str, id_: str, turn: Turn) -> bool:
        view = self._registry.view(id_)
        if view is None or _has_left(view):
            return True
        said, over = self.says(id_), has_restarted if what == RESTART else has_started_anew
        return said is not None and over(turn, view.record.order, said)

    def _tell_of_turn(self, id_: str, here: _Here) -> None:
        """Pass on that it may restart for limits."""
        said = self.says(id_)
        turn = Turn(0 if said is None else said.restart_asked, "", here.order)
        if turn.serial and here.let_anew != turn and self._turns.has(ANEW, id_, turn, None):
            here.let_anew = turn
            self._outbox.say(here.conn, protocol.MayRestart(number=turn.serial))

    def _tell_order(self, id_: str, here: _Here) -> None:
        found = self.ordered(id_)
        if found is None or here.ordered == found[0]:
            return
        (serial, writer), order = found
        if order.action is not Action.RESTART or self._may_restart(id_, found[0], here.order):
            here.ordered = found[0]
            message = protocol.Order(serial=serial, writer=writer, action=order.action.value)
            self._outbox.say(here.conn, message)

    # What changes

    def page_changed(self, owner: str, keys: tuple[str, ...]) -> None:
        """Read `keys` of `owner`'s page, and pass permits on."""
        page = self._group.ledger.pages.get(owner)
        for key in keys:
            value = None if page is None else page.get(key)
            self._tallies.page_changed(owner, key, value)
            for reader in (self.orders, self._turns):
                if (id_ := reader.page_changed(owner, key, value)) is not None:
                    self._tell(id_)
            if key.startswith(RUNS):
                self._read_runs(owner, key[len(RUNS) :], value)

    def _read_runs(self, owner: str, id_: str, value: bytes | None) -> None:
        runs = self._runs.setdefault(owner, {})
        try:
            if value is not None:
                runs[id_] = Runs.unpack(value)
                self._note_question(id_, runs[id_].config)
        except ValueError:
            self._outbox.count("ledger", "bad_record")
        if value is None:
            runs.pop(id_, None)

    def recall(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Turns from before our start hold until they are seen to be back, like those written since."""
        entries = list(entries)
        self.orders.recall(entries)
        self._turns.recall(entries)

    def plan_changed(self) -> None:
        """Tell the nodes here of the plans that hold now."""
        self.configs.drop()
        self.contents_changed()
        for id_ in list(self._here):
            self._tell(id_)

    def contents_changed(self) -> None:
        """Say which configurations are here."""
        packed = pack_names(sorted(hash_[:HASH_CHARS] for hash_ in self.configs.contents))
        if (self._group.ledger.own.get(HOLDS) or pack_names([])) != packed:
            self._group.ledger.put(HOLDS, packed, ends_something=True)

    def _without(self, hash_: str) -> list[str]:
        """The managers alive that have not got this configuration."""
        lacking = []
        for name in (self._group.name, *sorted(member.name for member in self._group.kin())):
            page = self._group.ledger.pages.get(name)
            value = None if page is None else page.get(HOLDS)
            try:
                held = [] if value is None else unpack_names(value)
            except ValueError:
                held = []
            if hash_[:HASH_CHARS] not in held:
                lacking.append(name)
        return lacking

    def sweep(self, now: float) -> None:
        """Conduct the plans that are ours, and forget what has served."""
        for what in WHATS:
            for id_, turn in self._turns.own(what).items():
                if not self._holds(what, id_, turn):
                    self._turns.end(what, id_)
        for what, id_ in self._turns.look(now):
            self._given(what, id_)
        self._answer_wants()
        self._let_restart(now)
        self._let_start_anew(now)
        plans = self.configs.plans()
        running = {kind: plan for kind, (_, plan) in plans.items() if plan.phase is Phase.RUNNING}
        self._tallies.follow({kind: plan.wanted.sha256 for kind, plan in running.items()}, now)
        signature = self._signature() if plans else None
        news, self._seen = signature != self._seen, signature
        for kind, (setting, plan) in plans.items():
            if news or plan.phase.moves:
                self._conduct(kind, setting, plan, now)
        if now < self._tidy_at:
            return
        self._tidy_at = now + TIDY_EVERY
        for id_ in self.orders.ids():
            said = self.says(id_) or ConfigState()
            known = self._registry.view(id_) is not None
            self.orders.drop_taken(id_, (said.order_serial, said.order_writer), known=known)
        for id_, runs in list(self._runs.get(self._group.name, {}).items()):
            view = self._registry.view(id_)
            if view is None or view.manager != self._group.name or view.record.order > _order(runs):
                self._group.ledger.delete(RUNS + id_)
                self._runs[self._group.name].pop(id_, None)

    def _signature(self) -> tuple[object, ...]:
        """Changes with all that a plan at rest depends on: pages, and what time makes of them."""
        pages = [(owner, page.mark) for owner, page in self._group.ledger.pages.items()]
        return self._registry.changes, [member.name for member in self._group.kin()], pages

    def _conduct(self, kind: str, setting: Setting, plan: Plan, now: float) -> None:
        order = (setting.serial, setting.writer)
        conductor = self._conductors.setdefault(kind, Conductor())
        answered = self.answered(kind, plan)
        held = {**self.held(kind), **self._turns.wanted(kind)}
        step = conductor.step(plan, order, self.standings(kind), held, now, answered)
        if step.permit and (why := self._turns.refusal(kind, plan.max_unavailable)):
            step = replace(step, permit=(), wait=why)
        if step.permit and (lacking := self._without(plan.wanted.sha256)):
            # Or it could be lost with its conductor, and the nodes would be left as they are.
            step = replace(step, permit=(), wait=f"not yet fetched by {', '.join(lacking)}")
        self._steps[kind] = step
        if setting.writer != self._group.name:
            return
        if step.verdict is not None:
            level = Level.ERROR if step.verdict is Phase.FAILED else Level.INFO
            plan = self.configs.conclude(kind, step.verdict, step.why)
            text = f"configuration for {kind}: version {plan.target} {plan.phase.value}"
            self._outbox.log(level, f"{text}: {step.why}" if step.why else text)
            self.plan_changed()
            return
        for id_ in step.permit:
            view = self._registry.view(id_)
            assert view is not None
            self._want(TURN, id_, Turn(*order, view.record.order), kind, now)

    def _tell(self, id_: str) -> None:
        """Say to a node here what it shall run, and whether it may go out for it, unless it knows."""
        here = self._here.get(id_)
        if here is not None:
            self._tell_order(id_, here)
            self._tell_of_turn(id_, here)
        found = None if here is None else self.configs.get(here.kind)
        if here is None or found is None:
            return
        setting, plan = found
        order, wanted = (setting.serial, setting.writer), plan.wanted
        if plan.phase.stands:
            return
        if here.told != order:
            here.told = order
            self._outbox.say(
                here.conn,
                Wanted(
                    serial=setting.serial,
                    writer=setting.writer,
                    version=wanted.number,
                    sha256=wanted.sha256,
                    size=wanted.size,
                ),
            )
        turn = Turn(*order, here.order)
        if here.permitted != turn and self._turns.has(TURN, id_, turn, setting.writer):
            here.permitted = turn
            self._outbox.say(here.conn, Permit(serial=setting.serial, writer=setting.writer))

    def _standing(self, view: NodeView, kind: str) -> Standing | None:
        runs = self._runs.get(view.manager, {}).get(view.id)
        active = view.state is NodeState.ACTIVE
        if runs is None or _order(runs) != view.record.order:
            # Its manager has started anew, or it has just moved: what it runs is not known for the moment.
            if kind_of(view.record.gateway) != kind or active:
                return None
            return Standing(view.id, view.record.order, False, ConfigState(ready=False))
        if runs.kind != kind or not runs.config.managed:
            return None
        return Standing(view.id, view.record.order, active, runs.config)

    def _is_back(self, id_: str, turn: Turn, plan: Plan | None) -> bool:
        view = self._registry.view(id_)
        if view is None or _has_left(view):
            return True
        return is_back(turn, self._standing(view, self._kind_of(id_)), plan)

    def _kind_of(self, id_: str) -> str:
        view = self._registry.view(id_)
        return "" if view is None else kind_of(view.record.gateway)


def _has_left(view: NodeView) -> bool:
    """Whether it said so, or an operator did: a connection may end while its node is out, and goes on."""
    return view.state is NodeState.REMOVED and view.why != CONNECTION_ENDED


def _order(runs: Runs) -> tuple[int, int]:
    return runs.incarnation, runs.nonce


def _mark(setting: Setting) -> tuple[int, str]:
    return setting.serial, setting.writer
