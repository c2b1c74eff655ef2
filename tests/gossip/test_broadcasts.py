"""The queue of news: the order is memberlist's, and a packet costs what it holds."""

from random import Random

from gossip.broadcasts import PASSED_ON_MAX, Broadcasts
from gossip.messages import Dead, User
from gossip.wire import encode_message


def dead(name: str) -> Dead:
    return Dead(name, 1, "m1")


def test_the_least_told_goes_first_then_the_longest_then_the_newest() -> None:
    queue = Broadcasts()
    for name in ("old", "longer", "new"):
        queue.queue(("member", name), dead(name))
    assert queue.take(10**6, 0, 9, 1) == [dead("longer")]
    assert queue.take(10**6, 0, 9, 2) == [dead("new"), dead("old")]
    queue.queue(("member", "late"), dead("late"))
    assert queue.take(10**6, 0, 9, 9) == [dead("late"), dead("longer"), dead("new"), dead("old")]


def test_what_does_not_fit_is_passed_over_and_waits() -> None:
    queue = Broadcasts()
    for name in ("a", "b" * 100, "c" * 50):
        queue.queue(("member", name), dead(name))
    room = len(encode_message(dead("c" * 50))) + len(encode_message(dead("a"))) + 4
    assert queue.take(room, 2, 9, 9) == [dead("c" * 50), dead("a")]
    assert queue.take(10**6, 2, 9, 1) == [dead("b" * 100)]


def test_newer_news_of_a_subject_replaces_the_older_and_is_fresh() -> None:
    queue = Broadcasts()
    queue.queue(("member", "a"), Dead("a", 1, "m1"))
    queue.take(10**6, 0, 9, 9)
    told = queue.has_fresh
    queue.queue(("member", "a"), Dead("a", 2, "m1"))
    assert (told, queue.has_fresh) == (False, True)
    assert queue.take(10**6, 0, 9, 9) == [Dead("a", 2, "m1")]


def test_whatever_is_queued_and_taken_everything_is_told_as_often_as_it_should() -> None:
    random = Random(1)
    queue, limit, times = Broadcasts(), 3, dict.fromkeys(map(str, range(400)), 0)
    for name in times:
        queue.queue(("member", name), dead(name + "x" * random.randrange(60)))
    while len(queue):
        for message in queue.take(random.randrange(120, 1400), 2, limit, 127):
            assert isinstance(message, Dead)
            times[message.node.rstrip("x")] += 1
    assert set(times.values()) == {limit}


def test_what_only_passes_through_is_bounded_in_number_and_size() -> None:
    queue = Broadcasts()
    queue.queue(("member", "a"), dead("a"))
    for number in range(PASSED_ON_MAX):
        assert queue.pass_on(str(number), User(b"event"), 1000)
    assert not queue.pass_on("one more", User(b"event"), 1000)
    queue.take(10**6, 0, 1, 3)
    assert queue.pass_on("one more", User(b"event"), 1000)
    assert not Broadcasts().pass_on("long", User(bytes(1000)), 1000)
