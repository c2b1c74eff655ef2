"""What the HTTP handlers need of the process that they run in."""

from collections.abc import Iterable, Mapping
from ssl import SSLContext
from typing import Protocol

from aiohttp import ClientSession

from gossip.effects import JoinTried, KeysDone, Reached
from gossip.key_messages import Verb
from manager.checks import Facts
from manager.core import Manager
from manager.doors import HttpDoor
from manager.effects import TrialDone
from manager.limits.sharing import Sharing
from manager.rollout.configs import Manner
from manager.rollout.orders import Action, Order
from node.protocol import Limit


class Operations(Protocol):
    """The running manager, as the API sees it."""

    @property
    def core(self) -> Manager:
        """Read-only: changes are made by the methods below."""

    @property
    def http(self) -> ClientSession:
        """For asking other managers."""

    @property
    def door(self) -> HttpDoor:
        """Who may do what."""

    @property
    def peers_token(self) -> str:
        """What other managers want to be shown; empty where they want nothing."""

    @property
    def to_peers(self) -> SSLContext | None:
        """For asking other managers by TLS; None where they have none."""

    @property
    def certificate_days_left(self) -> float | None:
        """Until our certificate expires; None where we have none."""

    @property
    def not_kept(self) -> str:
        """Why no change can be kept at present; empty where it can."""

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """What was dropped or refused: (where, reason) → how often."""

    def now(self) -> float:
        """The core's time."""

    def count(self, where: str, reason: str) -> None:
        """One more of `counts`."""

    async def note_change(self, who: str, change: str, status: int) -> None:
        """Remember who changed what; returns when that is kept."""

    async def set_max_nodes(self, max_nodes: int) -> None:
        """The operator sets the cap; returns when that is kept. Raises `DocumentError`."""

    async def set_limit(self, name: str, limit: Limit | None, sharing: Sharing) -> None:
        """The operator sets a limit, or takes it away; returns when that is kept. Raises `ValueError`."""

    async def expel(self, name: str) -> None:
        """The operator vouches that a founder runs nowhere. Raises `manager.seats.vouching.RightsError`."""

    async def forget_node(self, id_: str) -> None:
        """The same of a node. Raises `manager.seats.vouching.RightsError`, `KeyError`."""

    async def force_leave(self, name: str, by: str, *, prune: bool) -> None:
        """The operator declares a dead member gone. Raises `gossip.errors.ForceLeaveRefused`, `KeyError`."""

    async def join(self, peer: str) -> Mapping[str, JoinTried]:
        """The operator wants to meet `peer`: what became of each of its addresses; none: it is not known."""

    async def reach(self) -> Reached:
        """Who answers when every member is asked."""

    async def order_node(self, id_: str, action: Action, by: str) -> Order:
        """The operator's word to a node; kept on return. Raises `OrderError`, `KeyError`."""

    async def examine(self) -> Facts:
        """What this manager finds when it looks at itself."""

    async def snapshot(self) -> bytes | None:
        """This manager's state as a file; None where it keeps none. Raises `StoreError`."""

    async def change_keys(self, verb: Verb, key: str, without: Iterable[str]) -> KeysDone:
        """The operator changes or lists the keys of the group. Raises `gossip.keys.KeysRefused`."""

    async def install(self, text: str, source: str) -> None:
        """The operator installs a signed subscription; returns when that is kept. Raises `DocumentError`."""

    def ask_issuer(self) -> None:
        """The operator wants the issuer's URL to be asked; raises `DocumentError` where there is none."""

    async def push_config(self, kind: str, content: bytes, by: str, manner: Manner, *, force: bool) -> None:
        """The operator brings `content` to all gateways of `kind`; kept on return. Raises `PlanError`."""

    async def roll_back_config(self, kind: str, number: int | None, by: str, manner: Manner) -> None:
        """The operator goes back to a version, None: the one before; kept on return. Raises `PlanError`."""

    async def steer_rollout(self, kind: str, action: str, by: str) -> None:
        """`pause`, `resume`, `promote` or `abort`; kept on return. Raises `PlanError`."""

    async def try_config(self, kind: str, content: bytes) -> TrialDone:
        """What a gateway of `kind` here says of `content`. Raises `PlanError` where none answers."""

    def leave(self, *, for_good: bool) -> None:
        """The operator ends this manager; the answer is sent first."""
