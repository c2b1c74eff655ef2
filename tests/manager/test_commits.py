"""Nothing is told before it is kept, in order, and the disk's pace bounds the delay and not the rate."""

from hypothesis import given
from hypothesis import strategies as st

from gossip.effects import OpenStream, Send
from gossip.messages import OUR_VERSIONS, Ack, Address, Alive, Dead, Message, Ping, PushPull, Suspect, User
from manager.disk.commits import Commits, waits_for_nothing
from manager.disk.saved import Changes
from manager.effects import Persist

THERE = Address("10.0.0.2", 7946)


def persist(number: int) -> Persist:
    return Persist(Changes(facts={"number": str(number)}))


def numbers(batch: object) -> list[int]:
    assert isinstance(batch, list)
    return [int(changes.facts["number"]) for changes in batch]


def commits() -> Commits[str]:
    return Commits(lambda item: item.startswith("probe"))


def test_what_wrote_nothing_is_done_at_once() -> None:
    assert commits().put(["a", "b"]) == ["a", "b"]


def test_what_is_told_of_a_change_waits_until_it_is_kept() -> None:
    held = commits()
    assert held.put([persist(1), "a"]) == []
    assert numbers(held.begin()) == [1]
    assert held.done() == ["a"]


def test_what_comes_while_the_disk_is_busy_goes_into_one_next_commit() -> None:
    held = commits()
    held.put([persist(1), "a"])
    held.begin()
    assert held.put([persist(2), "b"]) == held.put(["c"]) == held.put([persist(3), "d"]) == []
    assert not held.due
    assert held.done() == ["a"]
    assert numbers(held.begin()) == [2, 3]
    assert held.done() == ["b", "c", "d"]


def test_what_wrote_nothing_itself_may_tell_of_what_is_not_kept_yet() -> None:
    held = commits()
    held.put([persist(1), "a"])
    held.begin()
    assert held.put(["b"]) == []
    assert held.done() == ["a", "b"]


def test_a_probe_does_not_wait_for_the_disk() -> None:
    held = commits()
    assert held.put([persist(1), "a", "probe"]) == ["probe"]
    held.begin()
    assert held.put(["probe again", "b"]) == ["probe again"]


@given(st.lists(st.sampled_from(["turn", "quiet turn", "begin", "done"]), max_size=40))
def test_every_item_comes_once_in_order_and_after_what_was_written_before_it(life: list[str]) -> None:
    held, told, kept, writing = Commits[int](lambda _: False), [], -1, -1
    for at, what in enumerate(life):
        match what:
            case "turn":
                told += [(item, kept) for item in held.put([persist(at), at])]
            case "quiet turn":
                told += [(item, kept) for item in held.put([at])]
            case "begin" if held.due:
                writing = max(numbers(held.begin()))
            case "done" if writing > kept:
                kept = writing
                told += [(item, kept) for item in held.done()]
            case _:
                pass
    turns = [at for at, what in enumerate(life) if what == "turn"]
    assert [item for item, _ in told] == [
        at for at, what in enumerate(life) if what in ("turn", "quiet turn")
    ][: len(told)]
    for item, kept_then in told:
        assert all(turn <= kept_then for turn in turns if turn <= item)


def test_only_probes_and_claims_about_others_wait_for_nothing() -> None:
    def send(*messages: Message) -> bool:
        return waits_for_nothing(Send(THERE, messages), "m1")

    assert send(Ping(1, "m2"), Suspect("m3", 1, "m1"))
    assert send(Ack(1), Dead("m3", 1, "m2"), Alive("m3", 2, THERE, b"", OUR_VERSIONS))
    assert not send(Ack(1), Alive("m1", 2, THERE, b"", OUR_VERSIONS))
    assert not send(Dead("m1", 2, "m1"))
    assert not send(User(b"K"))
    assert not waits_for_nothing(OpenStream(1, THERE, PushPull(False, ()), 1.0), "m1")
