"""What a gateway answered: counted by endpoint and backend, from nginx's log, whatever becomes of it."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.codec import encode
from node.gateways.accesslog import AccessLog
from node.gateways.errors import GatewayError
from node.gateways.tail import CHUNK_BYTES, LINE_BYTES_MAX, READ_BYTES_MAX, Tail
from node.latency import BOUNDS, BUCKETS, bucket_of
from node.protocol import FRAME_BYTES_MAX, OTHER, SERVED_MAX, SERVED_NAME_MAX, Report, Served
from node.traffic import Traffic, endpoint_of


@given(st.floats(0, 1e6))
def test_every_time_is_in_the_bucket_whose_bounds_hold_it(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert 0 <= bucket < BUCKETS
    assert bucket == len(BOUNDS) or seconds <= BOUNDS[bucket]
    assert bucket == 0 or seconds > BOUNDS[bucket - 1]


@pytest.mark.parametrize(
    ("asked", "endpoint"),
    [
        ("GET /users/17", "GET /users/*"),
        ("GET /users/17/orders?x=1", "GET /users/*/orders"),
        ("PUT /f/3f20a44d-7a3b-4d2e-9c1b-0d5c8a6e9f11", "PUT /f/*"),
        ("GET /v1/facade", "GET /v1/facade"),
        ("GET /" + "x" * 50, "GET /*"),
        ("GET /a/b/c/d/e/f/g/h", "GET /a/b/c/d/e/f/**"),
        ("GET /", "GET /"),
        ("checkout", "checkout"),
    ],
)
def test_an_endpoint_is_named_without_what_differs_between_requests(asked: str, endpoint: str) -> None:
    assert endpoint_of(asked) == endpoint


def test_names_are_bounded_and_the_rest_is_other() -> None:
    traffic = Traffic()
    for number in range(100):
        traffic.count("endpoint", f"e{number}", failed=False, seconds=0.01)
        traffic.count("backend", f"b{number}", failed=True, seconds=None)
    traffic.count("endpoint", "e0", failed=False, seconds=0.01)
    rows = {row.key: row for row in traffic.rows}
    assert len(rows) == SERVED_MAX
    assert rows["endpoint", "e0"].requests == 2
    assert sum(row.requests for row in rows.values()) == 201
    assert rows["endpoint", OTHER].requests == 100 - (SERVED_MAX // 2 - 1)
    assert rows["backend", OTHER].errors == rows["backend", OTHER].requests


def test_the_fullest_report_fits_into_a_frame() -> None:
    pairs = tuple(number for bucket in range(BUCKETS) for number in (bucket, 2**32))
    rows = tuple(
        Served("backend", f"{at:0{SERVED_NAME_MAX}}", 2**40, 2**40, 1e9, pairs) for at in range(SERVED_MAX)
    )
    assert len(encode(Report(number=1, served=rows, counters={"c": 1.0}))) < FRAME_BYTES_MAX


# A file that others write


def read(tail: Tail) -> list[bytes]:
    return [line for lines in tail.new_lines() for line in lines]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(b"before\n")
    return path


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(content)


def closed(tail: Tail, found: object, expected: object) -> None:
    tail.close()
    assert found == expected


def test_what_was_there_is_passed_over_and_a_half_line_waits_for_its_end(file: Path) -> None:
    tail = Tail(file)
    found = [read(tail)]
    for content in (b"one\ntw", b"", b"o\n", b"three\n"):
        add(file, content)
        found.append(read(tail))
    closed(tail, found, [[], [b"one"], [], [b"two"], [b"three"]])


def test_a_file_that_comes_later_is_read_from_its_start(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "later.log")
    found = [read(tail)]
    add(tmp_path / "later.log", b"one\n")
    found.append(read(tail))
    closed(tail, found, [[], [b"one"]])


def test_a_rotated_file_is_read_to_its_end_before_the_new_one(file: Path) -> None:
    tail = Tail(file)
    read(tail)
    add(file, b"one\n")
    old = file.rename(file.with_suffix(".1"))
    add(file, b"new\n")
    found = [read(tail)]
    add(old, b"late\n")  # its writer was not told yet
    found += [read(tail), read(tail)]
    add(file, b"newer\n")
    found.append(read(tail))
    closed(tail, found, [[b"one"], [b"late", b"new"], [], [b"newer"]])


def test_a_file_that_is_cut_short_is_read_from_its_start(file: Path) -> None:
    tail = Tail(file)
    read(tail)
    add(file, b"one\nhal")
    found = [read(tail)]
    file.write_bytes(b"two\n")
    found.append(read(tail))
    closed(tail, found, [[b"one"], [b"two"]])


def test_a_file_that_is_gone_for_a_while_is_found_again(file: Path) -> None:
    tail = Tail(file)
    read(tail)
    file.unlink()
    found = [read(tail)]
    add(file, b"one\n")
    found += [read(tail), read(tail)]
    closed(tail, found, [[], [], [b"one"]])


def test_of_more_than_is_read_in_one_go_the_newest_is_read_and_the_rest_counted(file: Path) -> None:
    tail = Tail(file)
    read(tail)
    line = b"x" * 1023 + b"\n"
    add(file, line * (READ_BYTES_MAX // 1024 + 10))
    found = len(read(tail)), tail.skipped_bytes
    # The first one is taken for half a line: nobody knows where it began.
    closed(tail, found, (READ_BYTES_MAX // 1024 - 1, 10 * 1024))


def test_a_line_without_an_end_takes_no_memory_and_costs_no_other(file: Path) -> None:
    tail = Tail(file)
    read(tail)
    add(file, b"y" * (LINE_BYTES_MAX + CHUNK_BYTES))
    found = [read(tail)]
    assert len(tail._begun) <= LINE_BYTES_MAX
    add(file, b"its end\nnext\n")
    found.append(read(tail))
    closed(tail, found, [[], [b"next"]])


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=8),
    st.lists(st.integers(1, 40)),
)
def test_lines_are_the_same_in_whatever_pieces_they_come(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("tail") / "log"
    path.touch()
    tail, content = Tail(path), b"".join(line + b"\n" for line in lines)
    found = read(tail)
    for cut in (*cuts, len(content)):
        add(path, content[:cut])
        content = content[cut:]
        found += read(tail)
    closed(tail, found, lines)


# nginx's log


def line(
    status: int = 200,
    took: str = "0.005",
    backends: str = "-",
    statuses: str = "-",
    times: str = "-",
    asked: str = "GET /a",
) -> bytes:
    return "\t".join((str(status), took, backends, statuses, times, asked)).encode() + b"\n"


async def counted(file: Path, lines: Iterable[bytes]) -> AccessLog:
    log = AccessLog(file, Traffic())
    try:
        await log.read()
        add(file, b"".join(lines))
        await log.read()
    finally:
        log.close()
    return log


async def test_requests_failures_and_times_are_counted_by_endpoint(file: Path) -> None:
    log = await counted(file, [line(), line(500, "0.100"), line(asked="GET /b/1")])
    rows = {row.name: row for row in log.traffic.rows}
    a = rows["GET /a"]
    assert (a.requests, a.errors, a.buckets) == (2, 1, (bucket_of(0.005), 1, bucket_of(0.1), 1))
    assert rows["GET /b/*"].requests == 1
    assert log.counters == {
        "gateway_requests": 3.0,
        "gateway_errors": 1.0,
        "gateway_log_skipped_bytes": 0.0,
    }


async def test_each_backend_that_was_tried_has_its_own_status_and_time(file: Path) -> None:
    tried = line(200, "0.3", "10.0.0.1:80, 10.0.0.2:80 : unix:/b", "502, 200 : 200", "-, 0.100 : 0.200")
    log = await counted(file, [tried])
    rows = {row.name: (row.requests, row.errors, row.buckets) for row in log.traffic.rows}
    assert rows["10.0.0.1:80"] == (1, 1, ())
    assert rows["10.0.0.2:80"] == (1, 0, (bucket_of(0.1), 1))
    assert rows["unix:/b"] == (1, 0, (bucket_of(0.2), 1))


async def test_who_asks_for_what_is_not_there_makes_no_endpoints(file: Path) -> None:
    log = await counted(file, [line(404, asked=f"GET /wp-{at}x") for at in range(5)])
    assert [(row.name, row.requests, row.errors) for row in log.traffic.rows] == [(OTHER, 5, 0)]


@pytest.mark.parametrize("took", ["nan", "inf", "-1", "soon"])
async def test_a_log_of_another_format_is_said_and_a_stray_line_is_passed_over(file: Path, took: str) -> None:
    with pytest.raises(GatewayError, match="is not in `log_format kcm"):
        await counted(file, [line(took=took), b'127.0.0.1 - - "GET / HTTP/1.1" 200\n'])
    assert (await counted(file, [line(took=took), line()])).traffic.total("endpoint") == (1, 0)


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_no_line_whatever_is_in_it_is_an_error(lines: list[bytes]) -> None:
    log = AccessLog(Path("/nowhere"), Traffic())
    for content in (*lines, *(b"200\t1\t" + line for line in lines)):
        log._take(content)
    assert len(log.traffic.rows) <= SERVED_MAX
