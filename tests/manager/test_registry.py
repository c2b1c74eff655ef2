"""What is derived of the nodes of a manager that is gone (rule I7)."""

from dataclasses import replace

from gossip.ledger import Ledger
from gossip.pages import Entry, Piece
from manager.outbox import Outbox
from manager.records import NODE, NodeRecord, NodeState
from manager.registry import MOVING, Registry

GRACE, WINDOW = 60.0, 300.0
RECORD = NodeRecord(NodeState.ACTIVE, 1, 7, 1, True, False, 0.0, "said hello", "n1", "10.1.0.1", "")


def holding() -> Registry:
    """That of m1, which holds the page of m2 with node `n`."""
    ledger = Ledger("m1", 1)
    nodes = Registry(ledger, GRACE, WINDOW, 0.0, Outbox())
    ledger.apply(Piece("m2", 1, 0, 1, 0, (Entry(f"{NODE}n", 1, RECORD.pack()),), reset=True))
    nodes.page_changed("m2", [f"{NODE}n"], 0.0)
    return nodes


def meeting() -> Registry:
    """The same, and m2 is alive."""
    nodes = holding()
    nodes.liveness({"m1", "m2"}, {"m1", "m2"}, set(), 0.0)
    return nodes


def state(nodes: Registry) -> NodeState:
    view = nodes.view("n")
    assert view is not None
    return view.state


def after(nodes: Registry, now: float) -> NodeState:
    """The state at `now`, time having passed as deadlines ask for it."""
    while nodes.next_deadline() <= now:
        nodes.tick(nodes.next_deadline())
    return state(nodes)


def test_people_read_names_and_an_id_beside_one_that_another_node_runs_by() -> None:
    ids = [f"krakend_76deb254-8253-4057-8b19-00000000000{number}" for number in range(4)]
    names = ("gw1", "gw2", "gw2", "")
    entries = [
        Entry(NODE + id_, number, replace(RECORD, name=name).pack())
        for number, (id_, name) in enumerate(zip(ids, names, strict=True), 1)
    ]
    ledger = Ledger("m1", 1)
    nodes = Registry(ledger, GRACE, WINDOW, 0.0, Outbox())
    ledger.apply(Piece("m2", 1, 0, 4, 0, tuple(entries), reset=True))
    nodes.page_changed("m2", [entry.key for entry in entries], 0.0)
    stranger = ids[0].replace("76de", "0000")
    assert nodes.with_names(f"out are {ids[0]}, {ids[1]}; {ids[3]}: {stranger}") == (
        f"out are gw1, gw2 ({ids[1]}); {ids[3]}: {stranger}"
    )


def test_the_nodes_of_a_manager_that_left_stand_as_they_did_while_they_move() -> None:
    nodes = meeting()
    nodes.liveness({"m1"}, {"m1"}, {"m2"}, 10.0)
    assert state(nodes) is NodeState.ACTIVE
    assert after(nodes, 10.0 + MOVING - 0.01) is NodeState.ACTIVE


def test_a_node_that_has_moved_nowhere_is_unreachable_and_then_down() -> None:
    nodes = meeting()
    nodes.liveness({"m1"}, {"m1"}, {"m2"}, 10.0)
    assert after(nodes, 10.0 + MOVING) is NodeState.UNREACHABLE
    assert after(nodes, 10.0 + GRACE) is NodeState.DOWN


def test_the_nodes_of_a_manager_that_is_dead_are_unreachable_at_once() -> None:
    nodes = meeting()
    nodes.liveness({"m1"}, {"m1"}, set(), 10.0)
    assert state(nodes) is NodeState.UNREACHABLE


def test_of_a_manager_that_had_left_before_we_came_nobody_is_on_the_way() -> None:
    nodes = holding()
    nodes.liveness({"m1"}, {"m1"}, {"m2"}, 0.0)
    assert state(nodes) is NodeState.UNREACHABLE


def written(nodes: Registry, ledger: Ledger, owner: str, record: NodeRecord) -> None:
    """`record` of node `n` stands on `owner`'s page."""
    page = ledger.pages.get(owner)
    version = 1 if page is None else page.version + 1
    ledger.apply(Piece(owner, 1, version - 1, version, 0, (Entry(f"{NODE}n", version, record.pack()),)))
    nodes.page_changed(owner, [f"{NODE}n"], 0.0)


def test_a_record_is_forgotten_once_no_page_names_an_older_one_that_knows_of_no_newer() -> None:
    """Rule I6: else the older one would come to light as if the node ran there."""
    ledger = Ledger("m1", 1)
    nodes = Registry(ledger, GRACE, WINDOW, 0.0, Outbox())
    ledger.put(f"{NODE}n", replace(RECORD, incarnation=5, state=NodeState.DOWN).pack())
    nodes.page_changed("m1", [f"{NODE}n"], 0.0)
    for other, may in (
        (replace(RECORD, incarnation=4), False),
        (replace(RECORD, incarnation=4, state=NodeState.MOVED), True),
        (replace(RECORD, incarnation=6), True),
    ):
        written(nodes, ledger, "m2", other)
        assert nodes.may_forget("n") is may


def test_who_waited_for_a_seat_at_a_manager_that_is_dead_is_refused_and_has_none() -> None:
    ledger = Ledger("m1", 1)
    nodes = Registry(ledger, GRACE, WINDOW, 0.0, Outbox())
    written(nodes, ledger, "m2", replace(RECORD, state=NodeState.CLAIMED))
    nodes.liveness({"m1", "m2"}, {"m1", "m2"}, set(), 0.0)
    assert state(nodes) is NodeState.CLAIMED
    nodes.liveness({"m1"}, {"m1"}, set(), 10.0)
    assert (state(nodes), nodes.used) == (NodeState.REFUSED, 0)


def test_the_seat_of_a_removed_node_whose_manager_is_dead_is_free_after_the_rejoin_window() -> None:
    """Nobody else ends it: that manager would have."""
    ledger = Ledger("m1", 1)
    nodes = Registry(ledger, GRACE, WINDOW, 0.0, Outbox())
    written(nodes, ledger, "m2", replace(RECORD, state=NodeState.REMOVED))
    nodes.liveness({"m1"}, {"m1"}, set(), 10.0)
    after(nodes, 10.0 + WINDOW - 0.01)
    assert nodes.used == 1
    after(nodes, 10.0 + WINDOW)
    assert nodes.used == 0
