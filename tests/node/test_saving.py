"""A ticket counts as soon as it is on disk, and no sooner; what cannot be saved after it leaves it alone."""

from pathlib import Path
from typing import cast

import pytest

from node.agent import Agent
from node.codec import decode, encode
from node.config import NodeSettings
from node.effects import NodeState
from node.link import Link
from node.protocol import AnyMessage, NewTicket, Renew, Welcome
from node.state import StateError, StateFile
from tests.node.sessions import FREE, ID, PUBLIC, A


class FullFrom(StateFile):
    """A disk that is full from its save number `full_from` on."""

    saves, full_from = 0, 10**9

    def save(self, state: NodeState) -> None:
        self.saves += 1
        if self.saves >= self.full_from:
            raise StateError("the disk is full")
        super().save(state)


class Pipe:
    """A connection to a manager that takes everything."""

    def __init__(self) -> None:
        self.sent: list[AnyMessage | None] = []

    def send(self, frame: bytes) -> None:
        self.sent.append(decode(frame))


class Node:
    """An agent that says hello."""

    def __init__(self, folder: Path) -> None:
        self.disk, self.pipe = FullFrom(folder), Pipe()
        self.agent = Agent(NodeSettings.model_validate({"seed": A}), self.disk, {}, "edge", "1")
        self.session = self.agent._session
        self.agent._close = lambda *_: None  # type: ignore[method-assign]
        self.session.start(self.agent._now())
        self.agent._link = cast("Link", self.pipe)
        self.agent.link_connected(self.agent._link, "")

    def hears(self, message: Welcome | NewTicket, full_from: int) -> None:
        """The disk is full from that of its saves on that follow."""
        self.disk.full_from = self.disk.saves + full_from
        assert self.agent._link is not None
        self.agent.link_received(self.agent._link, encode(message))

    def welcomed(self, full_from: int) -> None:
        incarnation = self.session.state.incarnation
        self.hears(
            Welcome(
                id=ID,
                ticket="t",
                incarnation=incarnation,
                manager="m1",
                limits_version=3,
                limits=PUBLIC,
                free_limits=FREE,
                life=60.0,
            ),
            full_from,
        )

    @property
    def shown(self) -> list[str]:
        return [message.ticket for message in self.pipe.sent if isinstance(message, Renew)]


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_a_ticket_that_is_not_saved_is_none(node: Node) -> None:
    node.welcomed(full_from=1)
    assert (node.session.state.ticket, node.shown, node.agent.joined) == ("", [], False)


async def test_a_ticket_that_is_saved_and_shown_stays_though_what_follows_is_not_saved(node: Node) -> None:
    node.welcomed(full_from=2)
    assert node.disk.state is not None
    assert node.session.state.ticket == node.disk.state.ticket == "t"
    assert (node.shown, node.agent.joined) == (["t"], True)


async def test_a_renewed_ticket_stays_though_what_its_gateway_works_under_is_not_saved(node: Node) -> None:
    node.welcomed(full_from=10**9)
    node.hears(NewTicket(number=1, ticket="newer", life=60.0), full_from=2)
    node.agent.perform(
        node.session.limits_applied(3, PUBLIC | FREE | {"more": PUBLIC["public"]}, node.agent._now())
    )
    assert node.disk.state is not None
    assert node.session.state.ticket == node.disk.state.ticket == "newer"
    assert node.shown == ["t", "newer"]
