"""What managers wrote that are gone is let go of by all, for good, and by nobody alone (rule L6)."""

from dataclasses import replace

import pytest

from gossip.effects import PageChanged
from gossip.ledger import Ledger
from gossip.page_notes import FORGOTTEN
from gossip.reconcile import Reconciler
from simulations.cluster import DEFAULT, Cluster
from simulations.processes import SimManager

RETENTION = 60.0
CONFIG = replace(DEFAULT, page_retention=RETENTION, grace=5.0, rejoin_window=5.0, forget_after=5.0)


def formed(managers: int = 4) -> Cluster:
    cluster = Cluster(1, managers, CONFIG, disks=True)
    cluster.world.run_until(cluster.formed, 10.0, "the managers form one group")
    cluster.add_nodes(6)
    cluster.world.run_for(10.0)
    return cluster


def holders(cluster: Cluster, owner: str) -> list[str]:
    """Who of those that run has a page of `owner`, present or former."""
    ledgers = {m.name: m.core.group.ledger for m in cluster.managers if m.alive}
    return [name for name, ledger in ledgers.items() if owner in ledger.pages or owner in ledger.former]


def sweep_it_away(cluster: Cluster) -> SimManager:
    """m4 dies; m3 is off when its page goes, with a copy on its disk."""
    *_, m3, m4 = cluster.managers
    m4.kill()
    cluster.world.run_for(RETENTION / 2)
    assert holders(cluster, "m4") == ["m1", "m2", "m3"]
    m3.power_off()
    cluster.world.run_for(RETENTION)
    return m4


def test_nobody_takes_the_page_of_a_dead_manager_again_and_the_manager_is_above_it_when_it_returns() -> None:
    cluster = formed()
    m4 = sweep_it_away(cluster)
    assert holders(cluster, "m4") == []
    m3 = cluster.managers[2]
    assert m3.disk is not None
    assert "m4" in m3.disk.saved.pages
    m3.restart()
    cluster.world.run_for(10.0)
    assert holders(cluster, "m4") == []
    assert all(m.disk and "m4" not in m.disk.saved.pages for m in cluster.managers[:3])
    m4.restart()
    cluster.settle(20.0, "all agree with the one that was gone")
    assert holders(cluster, "m4") == ["m1", "m2", "m3", "m4"]


def test_dropped_by_timers_alone_it_is_passed_to_and_fro(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant of the test above."""

    def forget(self: Reconciler, owner: str, at: float) -> list[PageChanged]:
        page = self._ledger._pages.pop(owner)
        self._ledger._fingerprint = None
        return [PageChanged(owner, tuple(page.values))]

    monkeypatch.setattr(Reconciler, "forget", forget)
    cluster = formed()
    sweep_it_away(cluster)
    cluster.managers[2].restart()
    cluster.world.run_for(10.0)
    assert holders(cluster, "m4") != []


def test_who_left_for_good_leaves_nothing_behind_once_its_nodes_are_elsewhere() -> None:
    cluster = formed()
    m4 = cluster.managers[3]
    m4.operate(lambda core, now: core.go(now, for_good=True))
    cluster.world.run_until(lambda: not holders(cluster, "m4"), 30.0, "the page of m4 is gone")
    cluster.settle(20.0, "all agree")
    assert sum(view.running for view in cluster.managers[0].core.registry.views()) == 6


def test_a_note_outlives_its_writers_restart_and_ends_after_twice_the_time() -> None:
    cluster = formed()
    sweep_it_away(cluster)
    m1, _, m3, _ = cluster.managers
    m3.restart()
    m1.kill()
    m1.restart()
    cluster.world.run_for(10.0)
    assert noted(m1.core.group.ledger) == ["m4"]
    assert holders(cluster, "m4") == []
    cluster.world.run_for(2 * RETENTION)
    assert noted(m1.core.group.ledger) == []


def test_who_runs_and_was_forgotten_in_a_split_is_known_again() -> None:
    cluster = formed()
    m1, m2, m3, m4 = cluster.managers
    cluster.network.partition([m1.host, m2.host, m3.host], [m4.host])
    cluster.world.run_for(2 * RETENTION)
    assert "m4" in holders(cluster, "m4")
    cluster.network.heal()
    cluster.settle(60.0, "the halves agree")
    assert holders(cluster, "m4") == ["m1", "m2", "m3", "m4"]


def noted(ledger: Ledger) -> list[str]:
    return [key[len(FORGOTTEN) :] for key, _ in ledger.own.items() if key.startswith(FORGOTTEN)]
