"""Three managers and three agents live through the same stories, and agree on everybody after each.

In each story one manager and one agent do, or suffer, the same. A group of agents alone lives through them
too: no agent beside managers may complain of anything of which it would not complain there.
"""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import wait_for
from tests.interop.agents import OF_A_MOVED_MEMBER, OF_ANY_GROUP, PATIENCE, unlike
from tests.interop.apart import ApartGroup, Joins, alone

pytestmark = pytest.mark.needs("serf", "ip", "nft", "root")

Story = Callable[[ApartGroup, str, str], None]

FORGOTTEN_SECONDS_MIN = 30.0
FORGOTTEN_SECONDS_MAX = 150.0
"""Agents forget a dead member after 30 s, once they have probed all; then a push/pull brings it back."""
SPLIT_SECONDS = 35.0


def leave(group: ApartGroup, ours: str, theirs: str) -> None:
    group.depart(ours, theirs)
    group.agree({ours: "left", theirs: "left"})
    group.start(ours)
    group.start(theirs)


def kill(group: ApartGroup, ours: str, theirs: str) -> None:
    group.kill(ours, theirs)
    group.agree({ours: "failed", theirs: "failed"})
    group.start(ours)
    group.start(theirs)


def suspend_and_resume(group: ApartGroup, ours: str, theirs: str) -> None:
    group.suspend(ours, theirs)
    group.agree({ours: "failed", theirs: "failed"})
    group.resume(ours, theirs)


def restart_at_another_address(group: ApartGroup, ours: str, theirs: str) -> None:
    """Managers take both there; agents refuse them until they have forgotten where they were."""
    former = {name: group.address(name) for name in (ours, theirs)}
    forgotten_at = time.monotonic() + FORGOTTEN_SECONDS_MIN
    group.kill(ours, theirs)
    group.agree({ours: "failed", theirs: "failed"})
    for name in (ours, theirs):
        group.move(name)
        group.start(name)
    moved = {name: ("alive", group.address(name)) for name in former}
    failed = {name: ("failed", address) for name, address in former.items()}
    if group.managers:
        wait_for(
            lambda: any(moved.items() <= group.seen_by(manager).items() for manager in ("m1", "m2")),
            PATIENCE,
            "a manager takes both at their new addresses",
            every=0.3,
        )
    refused = all(failed.items() <= group.seen_by(agent).items() for agent in ("s1", "s2"))
    # Where the machine is so busy that it took longer to come here, agents may have forgotten them.
    assert refused or time.monotonic() > forgotten_at
    group.agree(within=FORGOTTEN_SECONDS_MAX)


def change_tags(group: ApartGroup, ours: str, theirs: str) -> None:
    """A manager's change when it starts otherwise."""
    group.serf(theirs, "tags", "-set", "rack=b", "-set", "zone=1")
    if ours in group.managers:
        group.depart(ours)
        group.start(ours, "--node-port=7001")
    else:
        group.serf(ours, "tags", "-set", "kcm_node=7001")

    def seen() -> bool:
        views = [group.tags_seen_by(name) for name in group.addresses]
        assert views[0][theirs] == {"rack": "b", "zone": "1"}, views[0]
        assert views[0][ours]["kcm_node"] == "7001", views[0]
        assert all(views[0][name]["kcm_group"] == "krakend" for name in group.managers), views[0]
        return views == [views[0]] * 6

    wait_for(seen, PATIENCE, "all see everybody's tags", every=0.5)


def split_and_heal(group: ApartGroup, ours: str, theirs: str) -> None:
    began = time.monotonic()
    right = (ours, theirs, "s2")
    left = tuple(name for name in group.addresses if name not in right)
    group.cut(left, right)
    group.agree(dict.fromkeys(right, "failed"), by=left)
    group.agree(dict.fromkeys(left, "failed"), by=right)
    time.sleep(max(0.0, began + SPLIT_SECONDS - time.monotonic()))
    group.heal()


def change_keys(group: ApartGroup, ours: str, theirs: str) -> None:
    """Begun by an operator of ours; then by one of an agent, who tries again where a query was lost."""
    [first] = group.keys_of(ours)
    second, third = (b64encode(bytes([number]) * group.key_size).decode() for number in (1, 2))
    for verb, key in (("install", second), ("use", second), ("remove", first)):
        if ours in group.managers:
            done = group.kcm("keys", verb, key)
            assert done.returncode == 0, done.stderr
        else:
            group.keys_by_serf(ours, verb, key)
    assert f"{second}  [6/6]" in group.keys_by_serf(theirs, "list")
    assert [group.keys_of(name) for name in group.addresses] == [[second]] * 6
    for verb, key in (("install", third), ("use", third), ("remove", second)):
        group.keys_by_serf(theirs, verb, key)
    assert [group.keys_of(name) for name in group.addresses] == [[third]] * 6


CHAINS: dict[str, tuple[Story, ...]] = {
    "another address": (restart_at_another_address,),
    "suspend, split": (suspend_and_resume, split_and_heal),
    "tags, leave, keys, kill": (change_tags, leave, change_keys, kill),
}
CELLS = [
    (size, joins)
    for size in (0, 16, 32)
    for joins in (Joins.WE_JOIN_SERF, Joins.SERF_JOINS_US, Joins.SERF_ALONE)
    if size == 32 or joins is not Joins.SERF_ALONE
]


@pytest.fixture
def own_network() -> Iterator[None]:
    with alone():
        yield


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(
    ("key_size", "joins"),
    CELLS,
    ids=[f"{f'AES-{size * 8}' if size else 'plain'}, {joins}" for size, joins in CELLS],
)
def test_all_agree_on_everybody_after_each_story_and_agents_complain_of_nothing_new(
    tmp_path: Path, own_network: None, key_size: int, joins: Joins, chain: str
) -> None:
    group = ApartGroup(tmp_path, joins=joins, key_size=key_size)
    try:
        group.form()
        for number, story in enumerate(CHAINS[chain]):
            if story is change_keys and not key_size:
                continue
            story(group, "s6" if joins is Joins.SERF_ALONE else "m3", "s3")
            group.agree()
            group.all_alive()
            group.write_to_the_ledger(number)
            moved = OF_A_MOVED_MEMBER if story is restart_at_another_address else {}
            assert not unlike(group.fresh_complaints(), OF_ANY_GROUP, moved), story.__name__
    finally:
        group.close()
