"""The audit: the last changes are kept over restarts, on disk before their answer, and bounded."""

from pathlib import Path

from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from gossip.group import Group
from manager.audit import CHANGES_MAX, Audit
from manager.core import Manager
from manager.disk.store import Store
from manager.effects import Persist
from manager.terms import ManagerConfig
from manager.web.app import create_app
from tests.manager.running import Running


def test_changes_are_found_again_the_newest_first() -> None:
    audit = Audit({})
    facts: dict[str, str] = {}
    for number in range(3):
        audit.note("alice", f"change {number}", 200, 100.0 + number)
        facts |= audit.take_facts()
    assert audit.take_facts() == {}
    again = Audit(facts)
    assert [(one.change, one.at) for one in again.newest()] == [
        ("change 2", 102.0),
        ("change 1", 101.0),
        ("change 0", 100.0),
    ]
    again.note("bob", "change 3", 200, 103.0)
    assert again.newest()[0].number == 4


def test_the_oldest_changes_go_first_in_memory_and_on_disk() -> None:
    audit, facts = Audit({}), {"name": "m1"}
    for number in range(CHANGES_MAX + 7):
        audit.note("alice", f"{number}" + "x" * 10_000, 200, float(number))
        facts |= audit.take_facts()
    assert len(facts) == CHANGES_MAX + 1
    assert sum(map(len, facts.values())) < 1_000_000
    kept = [one.at for one in Audit(facts).newest()]
    assert kept == [float(number) for number in reversed(range(7, CHANGES_MAX + 7))]


async def test_a_change_is_written_before_it_is_answered_and_told_after_a_restart(tmp_path: Path) -> None:
    def start(store: Store) -> Running:
        running = Running(ManagerConfig())
        group: Group = running.core.group
        running.core = Manager(group, ManagerConfig(), 0.0, store.saved)
        return running

    store = Store(tmp_path, "m1", "blue")
    async with ClientSession():
        running = start(store)
        written: list[str] = []
        real = running._perform

        def perform(effects: list[object]) -> None:
            for effect in effects:
                if isinstance(effect, Persist):
                    store.write([effect.changes])
                    written.extend(name for name in effect.changes.facts if name.startswith("audit/"))
            real(effects)  # type: ignore[arg-type]

        running._perform = perform  # type: ignore[assignment]
        async with TestClient(TestServer(create_app(running))) as client:
            answer = await client.patch("/api/v1/subscription", json={"max_nodes": 5})
            assert answer.status == 200
            assert written == ["audit/1"]
    store.close()

    store = Store(tmp_path, "m1", "blue")
    async with TestClient(TestServer(create_app(start(store)))) as client:
        [change] = (await (await client.get("/api/v1/audit?local=1")).json())["changes"]
    store.close()
    assert (change["manager"], change["status"], "5" in change["change"]) == ("m1", 200, True)
