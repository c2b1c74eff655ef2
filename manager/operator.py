"""What an operator has a manager do, by the API or at start: each word in a turn of its own.

The part whose matter it is decides, and says in the log what was decided.
"""

from collections.abc import Callable, Iterable

from gossip.effects import Output
from gossip.group import Group
from gossip.key_messages import Verb
from gossip.messages import Address
from manager.audit import Audit
from manager.effects import Level, ManagerEffect
from manager.limits.sharing import Sharing
from manager.outbox import Outbox
from manager.retention import Retention
from manager.rollout.configs import Manner
from manager.rollout.orders import Action, Order
from manager.rollout.plan import Plan
from manager.rollout.rollouts import Rollouts
from manager.seats.surplus import Surplus
from manager.seats.vouching import Vouching
from manager.sessions.sessions import Sessions
from manager.subscription.renewals import Renewals
from manager.terms import Terms
from node.protocol import Limit


class Operator:
    """Every word gives the effects to carry out, as the core's other inputs do."""

    def __init__(
        self,
        group: Group,
        terms: Terms,
        renewals: Renewals,
        surplus: Surplus,
        vouching: Vouching,
        rollouts: Rollouts,
        retention: Retention,
        sessions: Sessions,
        audit: Audit,
        outbox: Outbox,
        *,
        absorb: Callable[[list[Output], float], None],
        turn: Callable[[float], list[ManagerEffect]],
    ) -> None:
        """The core's: `absorb` takes what comes from the group, `turn` is what every input ends with."""
        self._group = group
        self._terms = terms
        self._renewals = renewals
        self._surplus = surplus
        self._vouching = vouching
        self._rollouts = rollouts
        self._retention = retention
        self._sessions = sessions
        self._audit = audit
        self._outbox = outbox
        self._absorb = absorb
        self._turn = turn

    def set_max_nodes(self, max_nodes: int, now: float) -> list[ManagerEffect]:
        """It wins over every YAML file and reaches all managers.

        Raises `DocumentError` where a signed document holds.
        """
        self._renewals.set_max_nodes(max_nodes, self._group.wall(now))
        # So that who asks next is told of seats as they are under this cap.
        self._surplus.mark(now)
        return self._turn(now)

    def set_limit(self, name: str, limit: Limit | None, sharing: Sharing, now: float) -> list[ManagerEffect]:
        """The same for a limit; None takes it away. Raises `ValueError` for what cannot be."""
        setting = self._terms.set_limit(name, limit, sharing)
        what = "no limit" if limit is None else f"{limit.max_rate:g} per {limit.every:g} s"
        self._outbox.log(Level.INFO, f"limits: {name} is {what} from now on (serial {setting.serial})")
        return self._turn(now)

    def install(self, text: str, source: str, now: float) -> list[ManagerEffect]:
        """Put a signed document from `source` into force, everywhere. Raises `DocumentError`."""
        self._renewals.install(text, source, self._group.wall(now))
        self._surplus.mark(now)
        return self._turn(now)

    def ask_issuer(self, now: float) -> list[ManagerEffect]:
        """Ask the issuer's URL now, whoever's turn it is. Raises `DocumentError` where there is none."""
        self._renewals.ask(self._group.wall(now))
        return self._outbox.take()

    def push_config(
        self, kind: str, content: bytes, by: str, manner: Manner, now: float, *, force: bool
    ) -> list[ManagerEffect]:
        """Bring `content` to all gateways of `kind`, in waves. Raises `PlanError`."""
        plan = self._rollouts.configs.push(kind, content, by, manner, now, force=force)
        return self._plan_set(kind, plan, f"version {plan.target} pushed by {by}", now)

    def roll_back_config(
        self, kind: str, number: int | None, by: str, manner: Manner, now: float
    ) -> list[ManagerEffect]:
        """Bring an earlier version back; None: the one before. Raises `PlanError`."""
        plan = self._rollouts.configs.roll_back(kind, number, manner)
        return self._plan_set(kind, plan, f"back to version {plan.target}, by {by}", now)

    def steer_rollout(self, kind: str, action: str, by: str, now: float) -> list[ManagerEffect]:
        """`pause`, `resume`, `promote` or `abort`. Raises `PlanError`."""
        plan = self._rollouts.configs.act(kind, action, by, self._rollouts.step(kind).skip)
        return self._plan_set(kind, plan, f"rollout of version {plan.target}: {action}, by {by}", now)

    def _plan_set(self, kind: str, plan: Plan, text: str, now: float) -> list[ManagerEffect]:
        self._outbox.log(Level.INFO, f"configuration for {kind}: {text}")
        self._rollouts.plan_changed()
        return self._turn(now)

    def try_config(
        self, kind: str, sha256: str, content: bytes, now: float
    ) -> tuple[int, list[ManagerEffect]]:
        """Let a gateway check `content`: `TrialDone` of the number follows. Raises `PlanError`."""
        return self._rollouts.try_config(kind, sha256, content), self._turn(now)

    def order_node(self, id_: str, action: Action, by: str, now: float) -> tuple[Order, list[ManagerEffect]]:
        """Have one node do `action`. Raises `OrderError`, `KeyError` where nobody knows the node."""
        order = self._rollouts.order(id_, action, by, now)
        return order, self._turn(now)

    def forget_node(self, id_: str, now: float) -> list[ManagerEffect]:
        """As `manager.seats.vouching.Vouching.forget_node`: raises `RightsError`, `KeyError`."""
        self._vouching.forget_node(id_, now)
        return self._turn(now)

    def expel(self, name: str, now: float) -> list[ManagerEffect]:
        """As `manager.seats.vouching.Vouching.expel`: raises `RightsError`."""
        self._vouching.expel(name, now)
        self._sessions.shares.changed()
        return self._turn(now)

    def force_leave(self, name: str, by: str, now: float, *, prune: bool) -> list[ManagerEffect]:
        """As `gossip.group.Group.force_leave`: raises `ForceLeaveRefused`, `KeyError`."""
        output = self._group.force_leave(name, now, prune=prune)
        if prune:
            self._retention.pruned(name)
        word = "and no longer listed" if prune else "and not expected back"
        self._outbox.log(Level.INFO, f"member {name} is declared gone by {by}, {word}")
        self._absorb(output, now)
        return self._turn(now)

    def join(self, address: Address, now: float) -> tuple[int, list[ManagerEffect]]:
        """As `gossip.group.Group.join`: `JoinTried` of the number follows."""
        token, output = self._group.join(address, now)
        self._absorb(output, now)
        return token, self._turn(now)

    def reach(self, now: float) -> list[ManagerEffect]:
        """As `gossip.group.Group.reach`: `Reached` follows."""
        self._absorb(self._group.reach(now), now)
        return self._turn(now)

    def change_keys(self, verb: Verb, key: str, without: Iterable[str], now: float) -> list[ManagerEffect]:
        """As `gossip.keys.Keys.begin`: `KeysDone` follows, or `KeysRefused` is raised."""
        self._absorb(self._group.change_keys(verb, key, without, now), now)
        return self._turn(now)

    def note_change(self, who: str, change: str, status: int, now: float) -> list[ManagerEffect]:
        """Somebody changed something over HTTP: that is on disk before the answer."""
        self._audit.note(who, change, status, self._group.wall(now))
        return self._turn(now)
