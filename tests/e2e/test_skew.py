"""Neighbours of another version: what they say that ours does not know, and where no version is common."""

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgpack

from node.codec import encode
from node.protocol import CLOSE_REFUSED, PATH, PROTOCOL_MIN, SUBPROTOCOL, Hello
from tests.e2e.cluster import NODE_PORT, Cluster, Process, wait_for

ROOT = Path(__file__).parents[2]
UNKNOWN = {"bad_type"}


def start(cluster: Cluster, name: str, version: str) -> Process:
    """A manager of that version, which knows m1."""
    arguments = (f"--name={name}", *cluster.listens(name), f"--peer={cluster.address('m1')}")
    kept = (f"--config={cluster.folder}/m1.yml", f"--state-dir={cluster.folder}/state")
    command = (sys.executable, "-m", "tests.e2e.later", version, *arguments, *kept)
    process = cluster.run(name, *command, env={"PYTHONPATH": str(ROOT)})
    cluster.managers[name] = process
    return process


def test_a_manager_of_a_later_version_and_ours_agree_on_all_that_ours_knows(cluster: Cluster) -> None:
    cluster.start_manager("m1", peers=[], config="subscription: {max_nodes: 5}\n")
    start(cluster, "m2", "later")
    cluster.formed(2)
    ours, theirs = cluster.start_node("n1", "m1"), cluster.start_node("n2", "m2")
    cluster.everywhere({"n1": "active", "n2": "active"}, 10.0, "both managers list both nodes")
    for manager, cap in (("m1", 7), ("m2", 9)):
        assert cluster.kcm("subscription", "set", f"--max-nodes={cap}", manager=manager).returncode == 0
        wait_for(partial(_caps_are, cluster, cap), 5.0, f"{cap} set at {manager} holds at both")
    assert cluster.kcm("reachability").returncode == 0
    wait_for(lambda: not cluster.differences(), 10.0, "they agree")
    # What is not known is counted, and nothing else was dropped.
    assert cluster.rejected("m1").keys() == UNKNOWN
    theirs.stop()
    cluster.everywhere({"n1": "active", "n2": "removed"}, 5.0, "n2 has left")
    assert ours.running


def _caps_are(cluster: Cluster, cap: int) -> bool:
    return all(cluster.get(name, "subscription")["max_nodes"] == cap for name in ("m1", "m2"))


def test_a_manager_of_the_ledger_before_is_a_stranger_that_harms_nobody(cluster: Cluster) -> None:
    cluster.start_manager("m1", peers=[])
    start(cluster, "m2", "earlier")

    def kinds(manager: str) -> dict[str, str]:
        return {one["name"]: one["kind"] for one in cluster.get(manager, "members")["members"]}

    wait_for(lambda: kinds("m1").get("m2") == "foreign", 10.0, "m1 sees m2 as a stranger")
    cluster.start_node("n1", "m1")
    wait_for(lambda: cluster.states("m1") == {"n1": "active"}, 5.0, "its node is let in")
    wait_for(lambda: kinds("m2").get("m1") == "foreign", 5.0, "and the reverse")
    assert cluster.states("m2") == {}


async def _says(cluster: Cluster, *frames: bytes) -> tuple[list[Any], int | None]:
    """What m1 says to a node that says that, and the code by which it closes, if it does within a second."""
    answers = []
    async with aiohttp.ClientSession() as client:
        url = f"http://{cluster.address('m1')}:{NODE_PORT}{PATH}"
        async with client.ws_connect(url, protocols=(SUBPROTOCOL,)) as socket:
            for frame in frames:
                await socket.send_bytes(frame)
            try:
                async with asyncio.timeout(1.0):
                    async for message in socket:
                        answers.append(msgpack.unpackb(message.data))
            except TimeoutError:
                return answers, None
            return answers, socket.close_code


def test_a_node_is_understood_in_what_is_known_and_refused_where_no_version_is_common(
    cluster: Cluster,
) -> None:
    manager = cluster.start_manager("m1", peers=[])
    manager.says("is listening")
    wait_for(lambda: not cluster.get("m1", "info")["fresh"], 10.0, "it lets newcomers in")
    before = encode(
        Hello(
            key=bytes(32),
            incarnation=1,
            nonce=1,
            name="old",
            protocol_min=PROTOCOL_MIN - 1,
            protocol_max=PROTOCOL_MIN - 1,
        )
    )
    [[kind, body]], code = asyncio.run(_says(cluster, before))
    assert (kind, body["code"], code) == ("refused", "protocol", CLOSE_REFUSED)
    assert "upgrade the older one" in body["sentence"]
    manager.says("upgrade the older one")
    _, hello = msgpack.unpackb(encode(Hello(key=bytes(range(32)), incarnation=1, nonce=1, name="new")))
    range_of_both = {**hello, "protocol_max": PROTOCOL_MIN + 1, "later": [{"a": 1}]}
    answers, code = asyncio.run(
        _says(
            cluster,
            msgpack.packb(["hello", range_of_both]),
            msgpack.packb(["rumour", {"later": True}]),
            msgpack.packb(["report", {"number": 1, "later": 1.5}]),
        )
    )
    assert {kind for kind, _ in answers} >= {"welcome"}
    assert code is None
    assert "new" in cluster.states("m1")
