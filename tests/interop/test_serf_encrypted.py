"""Real `serf` agents and managers under one key, and strangers that have another one or none."""

import json
from base64 import b64encode

import pytest

from tests.e2e.cluster import wait_for
from tests.interop.agents import MixedGroup

pytestmark = pytest.mark.needs("serf")


def key_of(size: int, first: int = 0) -> str:
    return b64encode(bytes(range(first, first + size))).decode()


def test_under_a_key_of_24_bytes_agents_and_managers_are_one_group(group: MixedGroup) -> None:
    """Those of 16 and 32 have stories of their own, in `test_matrix.py`."""
    key = key_of(24)
    group.start_agent("s1", f"-encrypt={key}")
    group.start_manager("m1", peers=["s1"], config=f"gossip: {{key: {key}}}\n")
    group.known_to_managers("s1")
    group.start_agent("s2", f"-encrypt={key}", join="m1")
    group.all_alive()
    assert [group.complaints(agent) for agent in group.agents] == [[], []]


@pytest.mark.parametrize("size", [0, 16], ids=["no key", "another key"])
def test_an_agent_that_has_not_the_key_is_not_let_in_and_hears_an_error(group: MixedGroup, size: int) -> None:
    manager = group.start_manager("m1", peers=[], config=f"gossip: {{key: {key_of(32)}}}\n")
    manager.says("is listening")
    agent = group.start_agent("s1", f"-encrypt={key_of(size)}")
    with pytest.raises(ValueError, match="rror joining"):
        group.serf("s1", "join", group.address("m1"))
    manager.says("no installed key opens what" if size else "sends gossip without a key")
    assert group.members("m1") == {"m1": "alive"}
    # A stranger can make nothing of the error either: it is under our key.
    assert "No installed keys could decrypt" in agent.text or "encryption is not configured" in agent.text


def test_an_agent_with_a_key_gets_an_error_from_managers_without(group: MixedGroup) -> None:
    manager = group.start_manager("m1", peers=[])
    manager.says("is listening")
    group.start_agent("s1", f"-encrypt={key_of(32)}")
    with pytest.raises(ValueError, match="rror joining"):
        group.serf("s1", "join", group.address("m1"))
    manager.says("sends gossip under a key, and this manager has none")
    assert group.members("m1") == {"m1": "alive"}


def test_a_running_agent_that_does_not_answer_is_named_and_the_next_step_is_refused(
    group: MixedGroup,
) -> None:
    old, new = key_of(16), key_of(16, first=50)
    file = group.folder / "m1.keyring"
    file.write_text(json.dumps([old]))
    file.chmod(0o600)
    group.start_manager("m1", peers=[], config=f"gossip: {{keyring_file: {file}}}\n").says("is listening")
    for name in ("s1", "s2"):
        group.start_agent(name, f"-encrypt={old}", join="m1")
    group.all_alive()
    group.suspend("s2")
    installed = group.kcm("keys", "install", new)
    assert installed.returncode == 1
    assert "s2 (" in installed.stderr
    assert "s1 (" not in installed.stderr
    used = group.kcm("keys", "use", new)
    assert used.returncode == 1
    assert "s2 (" in used.stderr
    assert "nothing was changed" in used.stderr
    assert json.loads(file.read_text())[0] == old
    group.resume("s2")
    group.all_alive()
    wait_for(lambda: group.kcm("keys", "install", new).returncode == 0, 30.0, "s2 has it too")
    assert group.kcm("keys", "use", new).returncode == 0
    assert group.serf("s2", "keys", "-list").count("[3/3]") == 2
