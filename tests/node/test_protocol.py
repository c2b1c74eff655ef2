"""The codec: decoding undoes encoding, and any bytes are a message, nothing, or a ProtocolError."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.codec import ProtocolError, decode, encode
from node.latency import BUCKETS
from node.protocol import (
    FRAME_BYTES_MAX,
    ITEMS_MAX,
    SERVED_NAME_MAX,
    TEXT_MAX,
    AnyMessage,
    Ask,
    ConfigState,
    Data,
    Hello,
    Lease,
    Leases,
    Leave,
    Limit,
    Limits,
    LimitsPush,
    ManagerMessage,
    Managers,
    NodeMessage,
    Report,
    Served,
    Welcome,
    is_node_id,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.floats(0, 1e17)
served = st.builds(
    Served,
    st.sampled_from(["endpoint", "backend"]),
    st.text(max_size=SERVED_NAME_MAX).filter(lambda text: text.isprintable()),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.floats(0, 1e17),
    st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(0, 2**63 - 1), max_size=4).map(
        lambda found: tuple(number for pair in sorted(found.items()) for number in pair)
    ),
)
KINDS: list[type[AnyMessage]] = [*get_args(NodeMessage), *get_args(ManagerMessage)]
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    bytes: st.binary(max_size=64),
    int: st.integers(0, 2**63 - 1),
    float: numbers,
    bool: st.booleans(),
    tuple[str, ...]: st.lists(texts, max_size=5).map(tuple),
    dict[str, float]: st.dictionaries(texts, numbers, max_size=5),
    dict[str, str]: st.dictionaries(texts, texts, max_size=5),
    Leases: st.dictionaries(
        texts,
        st.builds(Lease, numbers, numbers, st.none() | st.builds(Limit, numbers, st.floats(0.001, 1e17))),
        max_size=5,
    ),
    Limits: st.dictionaries(
        texts, st.builds(Limit, numbers, st.floats(0.001, 1e17), st.booleans()), max_size=5
    ),
    Data: st.binary(max_size=64).map(Data),
    tuple[Served, ...]: st.lists(served, max_size=3).map(tuple),
}
VALUES[ConfigState] = st.builds(
    ConfigState, **{f.name: VALUES[get_type_hints(ConfigState)[f.name]] for f in fields(ConfigState)}
)
messages: st.SearchStrategy[AnyMessage] = st.one_of(
    [
        st.builds(kind, **{f.name: VALUES[get_type_hints(kind)[f.name]] for f in fields(kind)})
        for kind in KINDS
    ]
)
objects = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | texts
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from([kind.__name__.lower() for kind in KINDS])
field_names = st.sampled_from(sorted({f.name for kind in KINDS for f in fields(kind)}))


@given(messages)
def test_decoding_undoes_encoding(message: AnyMessage) -> None:
    assert decode(encode(message)) == message


def decodes_or_raises(frame: bytes) -> None:
    try:
        decode(frame)
    except ProtocolError:
        return


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_a_protocol_error(frame: bytes) -> None:
    decodes_or_raises(frame)


@given(names, st.dictionaries(field_names | texts, objects, max_size=8))
def test_any_values_in_a_message_decode_or_raise_a_protocol_error(kind: str, body: dict[str, object]) -> None:
    decodes_or_raises(msgpack.packb([kind, body]))


@given(messages, st.data())
def test_a_frame_cut_short_or_followed_by_more_is_no_message(
    message: AnyMessage, data: st.DataObject
) -> None:
    frame = encode(message)
    cut = data.draw(st.integers(0, len(frame) - 1))
    for wrong in (frame[:cut], frame + b"\xc0"):
        with pytest.raises(ProtocolError):
            decode(wrong)


def changed(message: AnyMessage, **values: object) -> bytes:
    kind, body = msgpack.unpackb(encode(message))
    frame: bytes = msgpack.packb([kind, {**body, **values}])
    return frame


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (msgpack.packb(["ask", {}]), "ask.number is missing"),
        (msgpack.packb(["ask"]), "a frame must be"),
        (msgpack.packb({"ask": 1}), "a frame must be"),
        (msgpack.packb(["ask", {1: 2}]), "not MessagePack"),
        (b"\x91" * 5000, "not MessagePack"),
        (b"\xdd\xff\xff\xff\xff", "not MessagePack"),
        (b"x" * (FRAME_BYTES_MAX + 1), "exceeds"),
        (changed(Ask(number=1), number=True), "ask.number must be a whole number"),
        (changed(Ask(number=1), number=-1), "ask.number must be a whole number"),
        (changed(Ask(number=1), number=1.0), "ask.number must be a whole number"),
        (changed(Ask(number=1), number=2**63), "ask.number must be a whole number"),
        (changed(Leave(), reason=b"x"), "leave.reason must be text"),
        (changed(Leave(), reason="x" * (TEXT_MAX + 1)), "leave.reason must be text of at most"),
        (changed(Managers(managers=()), managers=["x"] * (ITEMS_MAX + 1)), "must be a list of at most"),
        (changed(Report(number=1), counters={"x": float("nan")}), "report.counters must be a number"),
        (changed(Report(number=1), counters={"x": float("inf")}), "report.counters must be a number"),
        (changed(LimitsPush(version=1, limits={}), limits={"x": [1]}), r"must map each name to \[max_rate"),
        (changed(LimitsPush(version=1, limits={}), limits={"x": [-1, 1]}), "must be a number from 0"),
        (changed(LimitsPush(version=1, limits={}), limits={"x": [1, 0]}), "an `every` of at least 0.001 s"),
        (changed(LimitsPush(version=1, limits={}), over_limit=1), "must be true or false"),
    ],
)
def test_what_is_wrong_with_a_frame_is_named(frame: bytes, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        decode(frame)


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    assert decode(changed(Ask(number=1), later="x")) == Ask(number=1)
    assert decode(msgpack.packb(["leave", {}])) == Leave(reason="")


def test_an_unknown_kind_is_nothing() -> None:
    assert decode(msgpack.packb(["config", {"version": 1}])) is None


def test_a_message_that_would_exceed_the_frame_is_not_encoded() -> None:
    with pytest.raises(ProtocolError, match="a Managers of"):
        encode(Managers(managers=("x" * 500,) * 200))


NODE = "krakend_3f20a44d-3d93-4bc9-829b-b76b22055142"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (NODE, True),
        (NODE + "\n", False),
        (NODE.upper(), False),
        (NODE.replace("-4bc9", "-1bc9"), False),
        (NODE.removeprefix("krakend_"), False),
        ("", False),
    ],
)
def test_a_node_id_is_krakend_and_a_uuid4(text: str, is_one: bool) -> None:
    assert is_node_id(text) is is_one


def test_every_message_may_be_built_with_what_it_requires_alone() -> None:
    make: Callable[..., Welcome] = Welcome
    assert decode(encode(make(id=NODE, ticket="", incarnation=1, manager="m1"))) is not None
    assert decode(encode(Hello(key=b"", incarnation=1, nonce=1))) is not None
