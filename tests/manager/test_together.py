"""Connections that are read together, by real sockets."""

import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from manager.seed.together import READ_BYTES, Together
from tests.waiting import until


class Bench:
    def __init__(self) -> None:
        self.together = Together()
        self.near: list[socket.socket] = []
        self.far: list[socket.socket] = []
        self.heard: list[tuple[int, bytes]] = []

    def pair(self) -> int:
        """One more, by number."""
        number = len(self.near)
        near, far = socket.socketpair()
        near.setblocking(False)
        self.near.append(near)
        self.far.append(far)
        self.together.add(near.fileno(), lambda data: self.hears(number, data))
        return number

    def hears(self, number: int, data: bytes) -> None:
        self.heard.append((number, data))
        if not data:
            self.together.remove(self.near[number].fileno())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.together.close()
    for sock in (*bench.near, *bench.far):
        sock.close()


async def test_each_hears_what_the_other_end_of_its_own_said_whenever_that_is(bench: Bench) -> None:
    one, other = bench.pair(), bench.pair()
    for word in (b"first", b"second"):
        bench.far[one].send(word)
        bench.far[other].send(word)
        heard = {(one, word), (other, word)}
        await until(partial(heard.issubset, bench.heard))
    assert len(bench.heard) == 4


async def test_what_is_long_comes_in_parts_and_whole(bench: Bench) -> None:
    said = bytes(range(256)) * (3 * READ_BYTES // 256 + 1)
    number = bench.pair()
    bench.far[number].sendall(said)
    await until(lambda: sum(len(data) for _, data in bench.heard) == len(said))
    assert b"".join(data for _, data in bench.heard) == said


async def test_the_end_of_one_is_heard_once_and_the_others_go_on(bench: Bench) -> None:
    one, other = bench.pair(), bench.pair()
    bench.far[one].close()
    await until(lambda: (one, b"") in bench.heard)
    bench.far[other].send(b"still here")
    await until(lambda: (other, b"still here") in bench.heard)
    assert bench.heard.count((one, b"")) == 1


async def test_whoever_is_removed_while_others_are_heard_hears_nothing(bench: Bench) -> None:
    one, other = bench.pair(), bench.pair()

    def hears(number: int, data: bytes) -> None:
        bench.heard.append((number, data))
        bench.together.remove(bench.near[1 - number].fileno())

    bench.hears = hears  # type: ignore[method-assign]
    bench.far[one].send(b"a")
    bench.far[other].send(b"b")
    await until(lambda: bench.heard)
    bench.far[bench.heard[0][0]].send(b"again")
    bench.hears = lambda number, data: bench.heard.append((number, data))  # type: ignore[method-assign]
    await until(lambda: len(bench.heard) > 1)
    assert {number for number, _ in bench.heard} == {bench.heard[0][0]}


async def test_a_fault_with_what_one_said_leaves_nobody_unheard(bench: Bench) -> None:
    numbers = [bench.pair() for _ in range(3)]
    hears, faults = bench.hears, iter([True])

    def fails_once(number: int, data: bytes) -> None:
        if next(faults, False):
            raise RuntimeError("a fault of ours")
        hears(number, data)

    bench.hears = fails_once  # type: ignore[method-assign]
    for number in numbers:
        bench.far[number].send(b"a word")
    await until(lambda: len(bench.heard) == 2)


async def test_what_cannot_be_watched_is_not_taken(bench: Bench, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert not bench.together.add(file.fileno(), lambda data: None)
    number = bench.pair()
    bench.far[number].send(b"a word")
    await until(lambda: bench.heard == [(number, b"a word")])
