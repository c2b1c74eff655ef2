"""What real agents wrote reads as what they meant, and we write the same bytes.

`vectors/README.md` says how the recordings came about and what their fields mean.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgpack import Unpacker, unpackb

from gossip.errors import WireError
from gossip.messages import (
    Ack,
    Address,
    Alive,
    Dead,
    IndirectPing,
    JoinIntent,
    LeaveIntent,
    MemberState,
    Nack,
    Ping,
    PushPull,
    SerfAnswer,
    SerfKeyAnswer,
    SerfOther,
    SerfQuery,
    SerfState,
    State,
    StreamError,
    StreamMessage,
    Suspect,
    User,
    Versions,
)
from gossip.wire import (
    Keyring,
    Layers,
    StreamReader,
    decode_packet,
    decode_serf,
    decode_tags,
    encode_packet,
    encode_serf,
    encode_stream,
)
from gossip.wire.lzw import expand
from gossip.wire.reasons import (
    BAD_COMPRESSION,
    BAD_CRC,
    BAD_FIELD,
    BAD_INCARNATION,
    BAD_MSGPACK,
    BAD_NAME,
    BAD_TYPE,
    BAD_VERSIONS,
    EMPTY,
    EMPTY_PART,
    ENCRYPTED,
    LABEL,
    PLAINTEXT,
    TOO_BIG,
    TOO_DEEP,
    TRUNCATED,
    UNDECRYPTABLE,
)
from gossip.wire.serf import decode_key_answer, decode_key_request, encode_key_request

Vector: TypeAlias = dict[str, Any]

DIRECTORY = Path(__file__).parent / "vectors"
RECORDED = (
    "plain-compressed",
    "plain-uncompressed",
    "encrypted-compressed",
    "encrypted-uncompressed",
    "serf-protocols",
    "name-conflict",
    "big-state",
    "probe",
    "memberlist-0.6",
    "label",
)
GROUP_LABEL = b"blue-group"
"""That of the group in `label.json`, where some peers come with another one, or none."""


def load(file: str) -> Vector:
    loaded: Vector = json.loads((DIRECTORY / f"{file}.json").read_text())
    return loaded


def vectors(*files: str) -> list[Vector]:
    return [vector for file in files for vector in load(file)["vectors"]]


def by_id(vectors: list[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["id"] for vector in vectors])


def payload(vector: Vector) -> bytes:
    return bytes.fromhex(vector["payload"])


PACKETS = [vector for vector in vectors(*RECORDED) if vector["transport"] == "udp"]
STREAMS = [vector for vector in vectors(*RECORDED) if vector["transport"] == "tcp"]
REFUSED = vectors("must-refuse")
PAIRS = load("lzw")["pairs"]


def is_ours_to_write(vector: Vector) -> bool:
    """Uncompressed, integers in their smallest form, and no name beyond what we take."""
    return (
        vector["reencode"] == "exact"
        and "compress" not in vector["kind"]
        and "encrypt-v0" not in vector["kind"]
        and vector.get("integers") != "signed"
        and BAD_NAME not in meant(vector["decoded"])
    )


def is_ours_to_write_inside(vector: Vector) -> bool:
    """What is compressed, or sealed by version 0, and else as in `is_ours_to_write`."""
    return (
        ("compress" in vector["kind"] or "encrypt-v0" in vector["kind"])
        and vector.get("integers") != "signed"
        and BAD_NAME not in meant(vector["decoded"])
    )


def inside(vector: Vector) -> bytes:
    """The message or the compound under all layers, opened one by one as the vector states them."""
    data, layer, label = payload(vector), vector["decoded"], (vector.get("reply_label") or "").encode()
    while "inner" in layer:
        match layer["layer"]:
            case "label":
                label, data = layer["label"].encode(), data[2 + len(layer["label"]) :]
            case "encrypt" | "stream-encrypt" as kind:
                header = b"" if kind == "encrypt" else data[:5]
                version, sealed = data[len(header)], data[len(header) + 1 :]
                cipher = AESGCM(bytes.fromhex(vector["keys"][layer["key_index"]]))
                data = cipher.decrypt(sealed[:12], sealed[12:], header + label)
                data = data if version else data[: -data[-1]]
            case "crc":
                data = data[5:]
            case "compress":
                data = expand(unpackb(data[1:], raw=True)[b"Buf"], 2**20)
            case name:
                raise AssertionError(name)
        layer = layer["inner"]
    return data


def layers_of(vector: Vector) -> Layers:
    """The label and the keys of the vector's sender, with the nonce that it drew."""
    layer: Vector = vector.get("decoded", {})
    label = vector.get("reply_label") or ""
    if layer.get("layer") == "label":
        label, layer = layer["label"], layer["inner"]
    keys = [bytes.fromhex(key) for key in vector["keys"]]
    nonce = bytes.fromhex(layer.get("nonce", ""))
    return Layers(Keyring(keys) if keys else None, label.encode(), lambda count: nonce)


def is_answer(vector: Vector) -> bool:
    return vector.get("role") == "responder"


# What a vector means, built from its JSON alone.


def octets(stated: Any) -> bytes:
    return bytes.fromhex(stated["hex"]) if stated else b""


def source(body: Vector) -> Address | None:
    host, port = body.get("SourceAddr"), body.get("SourcePort")
    return Address(host, port) if host and port else None


def has_long_name(body: Vector) -> bool:
    names = (body.get(key, "") for key in ("Node", "Name", "From", "SourceNode"))
    return any(len(name.encode()) > 255 for name in names)


def meant_message(stated: Vector) -> Any:
    body: Vector = stated.get("body", {})
    if has_long_name(body):
        return BAD_NAME
    match stated["name"]:
        case "ping":
            return Ping(body["SeqNo"], body["Node"], source(body), body.get("SourceNode", ""))
        case "indirect-ping":
            return IndirectPing(
                body["SeqNo"],
                body["Node"],
                Address(body["Target"], body["Port"]),
                body["Nack"],
                source(body),
                body.get("SourceNode", ""),
            )
        case "ack":
            return Ack(body["SeqNo"], octets(body["Payload"]))
        case "nack":
            return Nack(body["SeqNo"])
        case "suspect":
            return Suspect(body["Node"], body["Incarnation"], body["From"])
        case "dead":
            return Dead(body["Node"], body["Incarnation"], body["From"])
        case "alive":
            return Alive(
                body["Node"],
                body["Incarnation"],
                Address(body["Addr"], body["Port"]),
                octets(body["Meta"]),
                Versions(*body["Vsn"]),
            )
        case "err":
            return StreamError(body["Error"])
        case "user":
            return stated["user"]
        case name:
            raise AssertionError(name)


def meant(layer: Vector) -> list[Any]:
    """The messages of a packet or a stream other than a push/pull; `bad_name` for each that we refuse."""
    match layer["layer"]:
        case "crc" | "compress" | "label" | "encrypt" | "stream-encrypt":
            return meant(layer["inner"])
        case "compound":
            return [message for part in layer["parts"] for message in meant(part)]
        case "message" if layer["name"] == "push-pull":
            return [BAD_NAME for node in layer["nodes"] if has_long_name(node)]
        case "message":
            return [meant_message(layer)]
        case name:
            raise AssertionError(name)


def innermost(layer: Vector) -> Vector:
    return innermost(layer["inner"]) if "inner" in layer else layer


def meant_member(node: Vector) -> MemberState:
    return MemberState(
        node["Name"],
        Address(node["Addr"], node["Port"]),
        octets(node["Meta"]),
        node["Incarnation"],
        State(node["State"]),
        Versions(*node["Vsn"]),
    )


def check_value(actual: Any, stated: Any) -> None:
    """An unpacked msgpack value against what its vector states, text and addresses as bytes."""
    if isinstance(stated, str):
        dotted = ".".join(str(byte) for byte in actual)
        assert stated in (actual.decode(), dotted)
    elif isinstance(stated, list):
        assert len(actual) == len(stated)
        for inner, stated_inner in zip(actual, stated, strict=True):
            check_value(inner, stated_inner)
    elif not isinstance(stated, dict):
        assert actual == stated
    elif set(stated) == {"hex"}:
        assert actual == octets(stated)
    elif set(stated) == {"length", "set"}:
        assert len(actual) == stated["length"]
        check_value({str(at): event for at, event in enumerate(actual) if event is not None}, stated["set"])
    else:
        actual = {key if isinstance(key, str) else key.decode(): inner for key, inner in actual.items()}
        assert actual.keys() == stated.keys()
        for key, inner in actual.items():
            check_value(inner, stated[key])


def check_opaque(actual: bytes, stated: Vector | None) -> None:
    """A user message or user state against the Serf message that its vector states."""
    if stated is None or set(stated) == {"hex"}:
        assert actual == octets(stated)
        return
    assert actual[0] == stated["type"]
    unpacker = Unpacker(raw=True)
    unpacker.feed(actual[1:])
    if stated["name"] == "serf-relay":
        check_value(unpacker.unpack(), stated["header"])
        check_opaque(actual[1 + unpacker.tell() :], stated["inner"])
    else:
        check_value(unpacker.unpack(), stated["body"])
        assert 1 + unpacker.tell() == len(actual)
    check_serf(actual, stated)


def check_serf(actual: bytes, stated: Vector) -> None:
    body = stated.get("body", {})
    match stated["name"]:
        case "serf-leave" | "serf-join" if has_long_name(body):
            with pytest.raises(WireError, match=BAD_NAME):
                decode_serf(actual)
        case "serf-leave":
            intent = LeaveIntent(body["LTime"], body["Node"], body["Prune"])
            assert (decode_serf(actual), encode_serf(intent)) == (intent, actual)
        case "serf-join":
            join = JoinIntent(body["LTime"], body["Node"])
            assert (decode_serf(actual), encode_serf(join)) == (join, actual)
        case "serf-push-pull":
            assert decode_serf(actual) == SerfState(
                body["LTime"],
                tuple(
                    (name, time) for name, time in body["StatusLTimes"].items() if len(name.encode()) <= 255
                ),
                tuple(name for name in body["LeftMembers"] if len(name.encode()) <= 255),
                body["EventLTime"],
                body["QueryLTime"],
            )
        case "serf-query":
            query = decode_serf(actual)
            assert isinstance(query, SerfQuery)
            assert (query.ltime, query.number, query.name) == (body["LTime"], body["ID"], body["Name"])
            assert query.source == Address(body["Addr"], body["Port"])
            assert query.direct == bool(body["Flags"] & 2)
            check_key_payload(query.payload, stated)
        case "serf-query-response" if not body["Flags"] & 1:
            answer = decode_serf(actual)
            assert isinstance(answer, SerfAnswer)
            assert (answer.ltime, answer.number, answer.sender) == (body["LTime"], body["ID"], body["From"])
            check_key_payload(answer.payload, stated)
        case _:
            assert decode_serf(actual) == SerfOther(stated["type"])


def check_key_payload(actual: bytes, stated: Vector) -> None:
    """What queries about keys, and their answers, hold inside: read, and written as agents write it."""
    inner = stated.get("notes", {}).get("payload", {})
    body = inner.get("body", {})
    match inner.get("name"):
        case "serf-key-request":
            key = octets(body["Key"])
            assert (decode_key_request(actual), encode_key_request(key)) == (key, actual)
        case "serf-key-response":
            said = SerfKeyAnswer(
                body["Result"], body["Message"], tuple(body["Keys"] or ()), body.get("PrimaryKey", "")
            )
            assert decode_key_answer(actual) == said
        case _:
            pass


def check_message(actual: object, stated: object) -> None:
    if isinstance(stated, dict):
        assert isinstance(actual, User)
        check_opaque(actual.payload, stated)
    else:
        assert actual == stated


def read_whole(vector: Vector) -> tuple[StreamMessage, list[str]]:
    reader = StreamReader(layers_of(vector), answer=is_answer(vector))
    message = reader.feed(payload(vector))
    if message is None:
        reader.end()
    assert message is not None
    return message, reader.rejected


def read(vector: Vector, layers: Layers) -> object:
    """What the vector says to a member with these layers."""
    if vector["transport"] == "udp":
        return decode_packet(payload(vector), layers)
    return StreamReader(layers, answer=is_answer(vector)).feed(payload(vector))


def test_the_recordings_are_all_here() -> None:
    assert len(PACKETS) >= 533
    assert len(STREAMS) >= 251
    assert len(REFUSED) >= 75
    assert len(PAIRS) >= 14
    assert sum(map(is_ours_to_write, PACKETS)) >= 447
    assert sum(map(is_ours_to_write, STREAMS)) >= 124
    assert sum(map(is_ours_to_write_inside, PACKETS)) >= 64
    assert sum(map(is_ours_to_write_inside, STREAMS)) >= 115


@by_id(PACKETS)
def test_a_packet_means_what_its_sender_meant(vector: Vector) -> None:
    stated = meant(vector["decoded"])
    if stated == [BAD_NAME] and innermost(vector["decoded"])["layer"] == "message":
        with pytest.raises(WireError, match=BAD_NAME):
            decode_packet(payload(vector), layers_of(vector))
        return
    packet = decode_packet(payload(vector), layers_of(vector))
    assert list(packet.rejected) == [message for message in stated if message == BAD_NAME]
    accepted = [message for message in stated if message != BAD_NAME]
    assert len(packet.messages) == len(accepted)
    for actual, message in zip(packet.messages, accepted, strict=True):
        check_message(actual, message)


@by_id(STREAMS)
def test_a_stream_means_what_its_sender_meant(vector: Vector) -> None:
    message, rejected = read_whole(vector)
    stated = innermost(vector["decoded"])
    if stated["name"] != "push-pull":
        check_message(message, meant_message(stated))
        assert not rejected
        return
    assert isinstance(message, PushPull)
    assert message.join == stated["header"]["Join"]
    assert list(message.members) == [
        meant_member(node) for node in stated["nodes"] if not has_long_name(node)
    ]
    assert rejected == [BAD_NAME for node in stated["nodes"] if has_long_name(node)]
    assert len(message.user_state) == stated["header"]["UserStateLen"]
    check_opaque(message.user_state, stated["user_state"])


@by_id([vector for vector in STREAMS if innermost(vector["decoded"])["name"] == "push-pull"])
def test_the_tags_of_members_are_read(vector: Vector) -> None:
    message, _ = read_whole(vector)
    assert isinstance(message, PushPull)
    stated = [node["tags_note"] for node in innermost(vector["decoded"])["nodes"] if not has_long_name(node)]
    assert [decode_tags(member.meta) for member in message.members] == stated


@by_id([vector for vector in PACKETS if is_ours_to_write(vector)])
def test_we_write_a_packet_as_its_sender_did(vector: Vector) -> None:
    with_crc = "crc>" in vector["kind"]
    layers = layers_of(vector)
    messages = decode_packet(payload(vector), layers).messages
    assert encode_packet(messages, with_crc, layers) == payload(vector)


@by_id([vector for vector in STREAMS if is_ours_to_write(vector)])
def test_we_write_a_stream_as_its_sender_did(vector: Vector) -> None:
    message, _ = read_whole(vector)
    assert encode_stream(message, layers_of(vector), answer=is_answer(vector)) == payload(vector)


@by_id([vector for vector in PACKETS if is_ours_to_write_inside(vector)])
def test_under_layers_that_we_only_read_we_write_a_packet_as_its_sender_did(vector: Vector) -> None:
    messages = decode_packet(payload(vector), layers_of(vector)).messages
    assert encode_packet(messages) == inside(vector)


@by_id([vector for vector in STREAMS if is_ours_to_write_inside(vector)])
def test_under_layers_that_we_only_read_we_write_a_stream_as_its_sender_did(vector: Vector) -> None:
    message, _ = read_whole(vector)
    assert encode_stream(message) == inside(vector)


@by_id(STREAMS)
def test_a_stream_by_the_byte_is_the_stream_whole(vector: Vector) -> None:
    data = payload(vector)
    reader = StreamReader(layers_of(vector), answer=is_answer(vector))
    for at in range(len(data) - 1):
        assert reader.feed(data[at : at + 1]) is None
    assert (reader.feed(data[-1:]), reader.rejected) == read_whole(vector)


@by_id([vector for vector in PACKETS + STREAMS if vector["keys"]])
def test_what_is_under_a_key_opens_under_no_other_and_not_without(vector: Vector) -> None:
    layers = layers_of(vector)
    other = replace(layers, keyring=Keyring([b"another key, 32 bytes in length."]))
    with pytest.raises(WireError) as refused:
        read(vector, other)
    assert refused.value.reason == UNDECRYPTABLE
    with pytest.raises(WireError):
        read(vector, replace(layers, keyring=None))


@by_id([vector for vector in PACKETS + STREAMS if not vector["keys"]])
def test_plain_text_is_refused_where_there_is_a_key(vector: Vector) -> None:
    layers = replace(layers_of(vector), keyring=Keyring([b"any key, of 24 bytes too"]))
    with pytest.raises(WireError) as refused:
        read(vector, layers)
    # A bare message of a name beyond what we take passes for noise.
    assert refused.value.reason in (
        {PLAINTEXT, UNDECRYPTABLE} if BAD_NAME in meant(vector["decoded"]) else {PLAINTEXT}
    )


@by_id(vectors("label"))
def test_only_what_has_the_groups_label_is_taken(vector: Vector) -> None:
    ours = replace(layers_of(vector), label=GROUP_LABEL)
    stated = layers_of(vector).label
    if stated == GROUP_LABEL:
        read(vector, ours)
        for label in (b"", b"red", b"blue-grou?", b"blue-group2"):
            if vector["keys"] or not is_answer(vector):
                with pytest.raises(WireError):
                    read(vector, replace(ours, label=label))
    else:
        with pytest.raises(WireError, match=LABEL):
            read(vector, ours)


REASONS = {
    "refuse:bomb": TOO_BIG,
    "refuse:compound-table": TRUNCATED,
    "refuse:crc": BAD_CRC,
    "refuse:cut": BAD_MSGPACK,
    "refuse:empty-crc": EMPTY,
    "refuse:empty-part": EMPTY_PART,
    "refuse:enc-version": UNDECRYPTABLE,
    "refuse:incarnation": BAD_INCARNATION,
    "refuse:incarnation-sign": BAD_INCARNATION,
    "refuse:label-cut": LABEL,
    "refuse:label-empty": LABEL,
    "refuse:lzw-algo": BAD_COMPRESSION,
    "refuse:lzw-code": BAD_COMPRESSION,
    "refuse:lzw-cut": BAD_COMPRESSION,
    "refuse:lzw-empty": EMPTY,
    "refuse:name-type": BAD_FIELD,
    "refuse:nested": TOO_DEEP,
    "refuse:nodes-huge": TOO_BIG,
    "refuse:nodes-negative": BAD_FIELD,
    "refuse:nonce": UNDECRYPTABLE,
    "refuse:other-key": UNDECRYPTABLE,
    "refuse:plaintext": PLAINTEXT,
    "refuse:plaintext-stream": PLAINTEXT,
    "refuse:port": BAD_FIELD,
    "refuse:short-ciphertext": UNDECRYPTABLE,
    "refuse:state-cut": TRUNCATED,
    "refuse:state-huge": TOO_BIG,
    "refuse:state-negative": BAD_FIELD,
    "refuse:stream-bomb": TOO_BIG,
    "refuse:stream-cut": TRUNCATED,
    "refuse:stream-length": UNDECRYPTABLE,
    "refuse:stream-over-limit": TOO_BIG,
    "refuse:stream-type-in-packet": BAD_TYPE,
    "refuse:stream-unknown-type": BAD_TYPE,
    "refuse:stream-without-key": ENCRYPTED,
    "refuse:tag": UNDECRYPTABLE,
    "refuse:unknown-type": BAD_TYPE,
    "refuse:version-flip": UNDECRYPTABLE,
    "refuse:vsn-3": BAD_VERSIONS,
}


@by_id(REFUSED)
def test_what_must_be_refused_is_and_for_its_own_reason(vector: Vector) -> None:
    layers = layers_of(vector)
    with pytest.raises(WireError) as refused:
        decode_packet(payload(vector), layers) if vector["transport"] == "udp" else read_whole(vector)
    assert refused.value.reason == REASONS[vector["kind"]]


@pytest.mark.parametrize("pair", PAIRS, ids=[pair["from"] for pair in PAIRS])
def test_compressed_bytes_expand_to_the_plain_ones(pair: dict[str, str]) -> None:
    plain = bytes.fromhex(pair["plain"])
    assert expand(bytes.fromhex(pair["lzw"]), len(plain)) == plain
