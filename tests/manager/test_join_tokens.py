"""Join tokens: who is let in as a node, and who needs none."""

import pytest

from manager.terms import ManagerConfig
from manager.tokens import JoinToken, digest, why_not
from node.protocol import Hello
from tests.manager.running import IDENTITY, WALL, Running

MINUTE = 60.0


def manager(**token: object) -> Running:
    """A manager with one join token, `open sesame`."""
    wanted = JoinToken("fleet", digest("open sesame"), labels={"zone": "eu"}, **token)  # type: ignore[arg-type]
    running = Running(ManagerConfig(join_tokens=(wanted,)))
    running.wait(10.0)
    return running


def hello(running: Running, number: int, token: str = "", incarnation: int = 1) -> str | None:
    """Node `number` says hello; its state as the manager lists it."""
    key = number.to_bytes(32)
    running.says(number, Hello(key=key, incarnation=incarnation, nonce=7, name=f"n{number}", token=token))
    view = running.core.registry.view(IDENTITY.id_of(key))
    return None if view is None else view.state.value


def test_a_newcomer_with_the_token_is_let_in_and_shown_with_it() -> None:
    running = manager()
    assert hello(running, 1, "open sesame") == "active"
    [view] = running.core.registry.views()
    assert (view.record.token, view.record.labels) == ("fleet", {"zone": "eu"})


@pytest.mark.parametrize("token", ["", "open", "open sesame ", "x" * 1000])
def test_a_newcomer_without_it_is_refused_and_not_listed(token: str) -> None:
    running = manager()
    assert hello(running, 1, token) is None


def test_a_known_node_needs_none() -> None:
    running = manager(expires=WALL + 60.0)
    assert hello(running, 1, "open sesame") == "active"
    running.hang_up(1)
    running.wait(100.0)
    assert hello(running, 1, "", incarnation=2) == "active"
    [view] = running.core.registry.views()
    assert view.record.token == "fleet"


def test_an_expired_token_lets_nobody_in() -> None:
    running = manager(expires=WALL + MINUTE)
    assert hello(running, 1, "open sesame") == "active"
    running.wait(MINUTE)
    assert hello(running, 2, "open sesame") is None


def test_a_token_is_used_up_by_as_many_nodes_as_it_says() -> None:
    running = manager(uses=2)
    states = [hello(running, number, "open sesame") for number in (1, 2, 3)]
    assert states == ["active", "active", None]
    # The same node, once more, is no further use.
    assert hello(running, 1, "open sesame", incarnation=2) == "active"


def test_a_token_that_is_not_known_is_told_from_none() -> None:
    assert "a join token is needed" in why_not(None, 0, WALL)
    assert "is not known" in why_not(None, 0, WALL, shown=True)
