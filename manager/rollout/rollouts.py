"""What takes nodes out of service: configurations on their way to them, and operators' orders.

Each manager writes what its own nodes run (`runs/<id>`). A plan's conductor writes who may be out
(`turn/<id>`); the node's manager passes that on as a permit, in the session that the turn names (rule T1).
Orders are passed on likewise (`orders.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from gossip.group import Group
from manager.effects import FetchContent, Level
from manager.outbox import Outbox
from manager.records import (
    ANEW,
    HOLDS,
    RESTART,
    TURN,
    Mark,
    NodeState,
    SessionKey,
    Setting,
    Turn,
    pack_names,
    unpack_names,
)
from manager.registry import Registry
from manager.rollout.conductor import Conductor, Step, is_back
from manager.rollout.configs import Configs
from manager.rollout.orders import Action, Order, OrderError, Orders
from manager.rollout.plan import Phase, Plan, PlanError
from manager.rollout.restarts import Restarts, has_left
from manager.rollout.standings import Standings
from manager.rollout.tally import HASH_CHARS, NO_BUCKETS, Tallies, Tally
from manager.rollout.trials import Trials
from manager.rollout.turns import PURPOSES, Turns
from manager.seats.founders import Founders
from node import protocol
from node.protocol import CHUNK_BYTES_MAX, NO_CONFIG, Chunk, ConfigState, Data, Permit, Wanted

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
    session: SessionKey
    kind: str
    told: Mark = (0, "")
    permitted: Turn | None = None
    ordered: Mark = (0, "")
    may_restart: Turn | None = None
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
        """What operators want of single nodes. Read-only for others."""
        self._group = group
        self._registry = registry
        self._outbox = outbox
        self._here: dict[str, _Here] = {}
        self.standings = Standings(group, registry, outbox)
        """What the nodes say that they run. Read-only for others."""
        self._turns = Turns(group, outbox, founders, self._holds)
        self.restarts = Restarts(group, registry, configs, self.orders, self._turns, self.standings)
        """Who waits for a turn to be restarted. Read-only for others."""
        self._conductors: dict[str, Conductor] = {}
        self._steps: dict[str, Step] = {}
        self._tallies = Tallies(group, outbox)
        self.trials = Trials(outbox)
        """What gateways here are only asked about."""
        self._tidy_at = 0.0
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

    def held(self, kind: str) -> dict[str, Turn]:
        """The turns of any manager's that have not come back, by the ids of nodes of `kind`."""
        return self._turns.held(kind)

    def _holds(self, purpose: str, id_: str, turn: Turn) -> str:
        """As `Turns` asks it."""
        kind = self.standings.kind_of(id_)
        if purpose in (RESTART, ANEW):
            back = self.restarts.is_over(purpose, id_, turn)
        else:
            found = self.configs.get(kind)
            back = self._is_back(id_, turn, None if found is None else found[1])
        return "" if back else kind

    # Nodes here

    def joined(self, id_: str, conn: int, session: SessionKey, kind: str, now_runs: ConfigState) -> None:
        """A node of `kind` is let in."""
        self._here[id_] = _Here(conn, session, kind)
        self.reported(id_, session, now_runs)
        self._tell(id_)

    def left(self, id_: str, conn: int) -> None:
        """Its connection here is over."""
        here = self._here.get(id_)
        if here is not None and here.conn == conn:
            del self._here[id_]
            self._tallies.left(id_)
            self.trials.left(id_)

    def reported(
        self,
        id_: str,
        session: SessionKey,
        config: ConfigState,
        counters: Mapping[str, float] = NONE,
        buckets: Mapping[int, float] = NO_BUCKETS,
    ) -> None:
        """What a node here says of its configuration, and of what its gateway has answered so far."""
        here = self._here.get(id_)
        if here is None or here.session != session:
            return
        if config is NO_CONFIG:
            return  # as most agents say, which replace no configuration
        says = config.managed, config.running, config.order_serial, config.service
        if not any((*says, config.restart_asked, config.restart_taken)):
            return
        self._tallies.reported(id_, session, here.kind, config.running, counters, buckets)
        self.standings.reported(id_, here.kind, session, config)

    def fetch(self, conn: int, hash_: str, offset: int) -> None:
        """A node asks for a part of a configuration."""
        content = self.configs.content(hash_)
        if content is None:
            content = self.trials.content(hash_)
        data = Data(content[offset : offset + CHUNK_BYTES_MAX])
        self._outbox.say(conn, Chunk(sha256=hash_, offset=offset, data=data))

    def can_try(self, kind: str) -> bool:
        """Whether `try_config` finds somebody."""
        return self._trier(kind) is not None

    def _trier(self, kind: str) -> tuple[str, _Here] | None:
        for id_, here in sorted(self._here.items()):
            if here.kind == kind and self.standings.takes(id_):
                return id_, here
        return None

    def try_config(self, kind: str, hash_: str, content: bytes) -> int:
        """Let a node of `kind` that is connected here check `content`; `TrialDone` of this number follows.

        Raises `PlanError` where there is none.
        """
        found = self._trier(kind)
        if found is None:
            raise PlanError(f"no node of kind {kind} that takes configurations is connected to it")
        id_, here = found
        return self.trials.begin(id_, here.conn, hash_, content)

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
        said = self.standings.says(id_)
        order = self.orders.give(
            id_, action, by, 0 if said is None else said.order_serial, self._group.wall(now)
        )
        self._outbox.log(Level.INFO, f"{id_} is to {action.value}, by {by}")
        self._tell(id_)
        return order

    def _want(self, purpose: str, id_: str, turn: Turn, kind: str, now: float) -> None:
        if self._turns.want(purpose, id_, turn, kind, self.restarts.max_unavailable(kind), now):
            self._given(purpose, id_)

    def _given(self, purpose: str, id_: str) -> None:
        self._outbox.log(Level.INFO, f"{id_} may go out of service, {_WHY[purpose]}")
        self._tell(id_)

    def _answer_wants(self) -> None:
        """As a founder, give turns to those who are asked for, as long as there are some of ours."""
        for id_, want in self._turns.asked():
            view, kind, turn = self._registry.view(id_), self.standings.kind_of(id_), want.turn
            if view is None or not kind or view.record.session != turn.session:
                continue
            if want.purpose == TURN:
                found = self.configs.get(kind)
                stands = found is not None and found[0].mark == turn.mark
            else:
                stands = self.restarts.stands(want.purpose, id_, turn)
            if stands and self._turns.can_give(id_, kind, self.restarts.max_unavailable(kind)):
                self._turns.give(want.purpose, id_, turn)
                self._given(want.purpose, id_)

    def _tell_order(self, id_: str, here: _Here) -> None:
        """What an operator wants, or that its gateway may be restarted for limits."""
        found = self.restarts.ordered(id_)
        if found is not None and here.ordered != found[0]:
            (serial, writer), order = found
            if order.action is not Action.RESTART or self.restarts.may(id_, found[0], here.session):
                here.ordered = found[0]
                message = protocol.Order(serial=serial, writer=writer, action=order.action.value)
                self._outbox.say(here.conn, message)
        turn = self.restarts.asks(id_, here.session)
        if turn is not None and here.may_restart != turn:
            here.may_restart = turn
            self._outbox.say(here.conn, protocol.MayRestart(number=turn.serial))

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
            self.standings.page_changed(owner, key, value)

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

    def fetch_content(self, now: float) -> None:
        """Ask another manager for what a plan names and we have not got, where there is any."""
        if self._group.kin() and (version := self.configs.to_fetch(now)) is not None:
            self._outbox.add(FetchContent(version.sha256, version.size))

    def content_fetched(self, content: bytes | None, now: float) -> None:
        """What that has brought, None for nothing."""
        if content is not None and not self.configs.fetched(content):
            self._outbox.count("config", "not_what_was_asked_for")
        self.contents_changed()
        self.fetch_content(now)

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
        for purpose in PURPOSES:
            for id_, turn in self._turns.own(purpose).items():
                if not self._holds(purpose, id_, turn):
                    self._turns.end(purpose, id_)
        for purpose, id_ in self._turns.look(now):
            self._given(purpose, id_)
        self._answer_wants()
        for purpose, kind, id_, turn in self.restarts.next(now):
            self._want(purpose, id_, turn, kind, now)
        for line in self.restarts.stuck(now):
            self._outbox.log(Level.WARNING, line)
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
            said = self.standings.says(id_) or ConfigState()
            known = self._registry.view(id_) is not None
            self.orders.drop_taken(id_, (said.order_serial, said.order_writer), known=known)
        self.standings.tidy()

    def _signature(self) -> tuple[object, ...]:
        """Changes with all that a plan at rest depends on: pages, and what time makes of them."""
        pages = [(owner, page.mark) for owner, page in self._group.ledger.pages.items()]
        return self._registry.changes, [member.name for member in self._group.kin()], pages

    def _conduct(self, kind: str, setting: Setting, plan: Plan, now: float) -> None:
        mark = setting.mark
        conductor = self._conductors.setdefault(kind, Conductor())
        answered = self.answered(kind, plan)
        held = {**self.held(kind), **self._turns.wanted(kind)}
        step = conductor.step(plan, mark, self.standings.of(kind), held, now, answered)
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
            self._want(TURN, id_, Turn(*mark, view.record.session), kind, now)

    def _tell(self, id_: str) -> None:
        """Say to a node here what it shall run, and whether it may go out for it, unless it knows."""
        here = self._here.get(id_)
        if here is not None:
            self._tell_order(id_, here)
        found = None if here is None else self.configs.get(here.kind)
        if here is None or found is None:
            return
        setting, plan = found
        mark, wanted = setting.mark, plan.wanted
        if plan.phase.stands:
            return
        if here.told != mark:
            here.told = mark
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
        turn = Turn(*mark, here.session)
        if here.permitted != turn and self._turns.has(TURN, id_, turn, setting.writer):
            here.permitted = turn
            self._outbox.say(here.conn, Permit(serial=setting.serial, writer=setting.writer))

    def _is_back(self, id_: str, turn: Turn, plan: Plan | None) -> bool:
        view = self._registry.view(id_)
        if view is None or has_left(view):
            return True
        return is_back(turn, self.standings.one(id_), plan)
