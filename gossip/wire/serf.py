"""What Serf says inside memberlist's opaque parts: Meta, user messages, the user state of a push/pull.

Its messages start with a type byte of their own. Members read the few that decide whether an agent
lists them as alive, left or failed, and queries, for those about keys; the others are passed on unread.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from gossip.errors import WireError
from gossip.messages import (
    JoinIntent,
    LeaveIntent,
    NodeName,
    SerfAnswer,
    SerfKeyAnswer,
    SerfMessage,
    SerfOther,
    SerfQuery,
    SerfState,
)
from gossip.wire.fields import (
    META_BYTES_MAX,
    NAME_BYTES_MAX,
    U32_MAX,
    U64_MAX,
    Body,
    Cursor,
    address,
    as_name,
    as_text,
    flag,
    given_name,
    name,
    number,
    octets,
    pack,
    packed_host,
    packed_text,
    shape,
    text,
    unpack,
    unpack_body,
)
from gossip.wire.reasons import BAD_FIELD, BAD_META, BAD_TYPE, EMPTY

_LEAVE: Final = 0
_JOIN: Final = 1
_STATE: Final = 2
_QUERY: Final = 4
_ANSWER: Final = 5
_KEY_REQUEST: Final = 7
_KEY_ANSWER: Final = 8
_LAST_KIND: Final = 9
"""Above it serf 0.9.4 knows no type: an application's own messages may start with 64 and up."""

_TAGS_MAGIC: Final = b"\xff"
_NAMES_MAX: Final = 65_536
"""The most names in a state: those of a group, and those that have left it."""

_LEAVE_SHAPE: Final = shape(b"LTime", b"Node", b"Prune")
_JOIN_SHAPE: Final = shape(b"LTime", b"Node")
_STATE_SHAPE: Final = shape(
    b"LTime", b"StatusLTimes", b"LeftMembers", b"EventLTime", b"Events", b"QueryLTime"
)
_QUERY_SHAPE: Final = shape(
    b"LTime",
    b"ID",
    b"Addr",
    b"Port",
    b"SourceNode",
    b"Filters",
    b"Flags",
    b"RelayFactor",
    b"Timeout",
    b"Name",
    b"Payload",
)
_ANSWER_SHAPE: Final = shape(b"LTime", b"ID", b"From", b"Flags", b"Payload")
_KEY_REQUEST_SHAPE: Final = shape(b"Key")
_KEY_ANSWER_SHAPE: Final = shape(b"Result", b"Message", b"Keys", b"PrimaryKey")
_IS_ACK: Final = 1
_WANTS_ACK: Final = 1
_NO_BROADCAST: Final = 2
_QUERY_NANOSECONDS: Final = 5_000_000_000
"""For how long an agent holds on to a query of ours."""
_STATE_TIMES: Final = (b"LTime", b"EventLTime", b"QueryLTime")


def encode_serf(message: LeaveIntent | JoinIntent | SerfState | SerfQuery | SerfAnswer) -> bytes:
    """A user message's payload, or (for a state) the user state of a push/pull.

    A state goes out without events, which an agent takes: it keeps its own.
    """
    match message:
        case LeaveIntent(ltime, node, prune):
            return b"\x00" + pack({b"LTime": ltime, b"Node": packed_text(node), b"Prune": prune})
        case JoinIntent(ltime, node):
            return b"\x01" + pack({b"LTime": ltime, b"Node": packed_text(node)})
        case SerfState():
            return b"\x02" + pack(
                {
                    b"EventLTime": message.event_ltime,
                    b"Events": [],
                    b"LTime": message.ltime,
                    b"LeftMembers": [packed_text(node) for node in message.left],
                    b"QueryLTime": message.query_ltime,
                    b"StatusLTimes": {packed_text(node): ltime for node, ltime in message.status_ltimes},
                }
            )
        case SerfQuery(ltime, number, source):
            return b"\x04" + pack(
                {
                    b"Addr": packed_host(source.host),
                    b"Filters": None,
                    b"Flags": _NO_BROADCAST * message.direct | _WANTS_ACK * message.acked,
                    b"ID": number,
                    b"LTime": ltime,
                    b"Name": packed_text(message.name),
                    b"Payload": message.payload,
                    b"Port": source.port,
                    b"RelayFactor": 0,
                    b"SourceNode": packed_text(message.source_name),
                    b"Timeout": _QUERY_NANOSECONDS,
                }
            )
        case SerfAnswer(ltime, number, sender, payload):
            return b"\x05" + pack(
                {
                    b"Flags": _IS_ACK if message.ack else 0,
                    b"From": packed_text(sender),
                    b"ID": number,
                    b"LTime": ltime,
                    b"Payload": payload,
                }
            )


def decode_serf(payload: bytes) -> SerfMessage:
    """The Serf message in a user message or a user state, without its events.

    Raises `WireError`; `bad_type` if it is not one of Serf's.
    """
    if not payload:
        raise WireError(EMPTY, "nothing where a Serf message belongs")
    kind = payload[0]
    if kind == _LEAVE:
        body = unpack_body(payload[1:], _LEAVE_SHAPE)
        return LeaveIntent(_ltime(body, b"LTime"), given_name(body, b"Node"), flag(body, b"Prune"))
    if kind == _JOIN:
        body = unpack_body(payload[1:], _JOIN_SHAPE)
        return JoinIntent(_ltime(body, b"LTime"), given_name(body, b"Node"))
    if kind == _STATE:
        return _read_state(Cursor(payload[1:]))
    if kind == _QUERY:
        return _read_query(unpack_body(payload[1:], _QUERY_SHAPE))
    if kind == _ANSWER:
        body = unpack_body(payload[1:], _ANSWER_SHAPE)
        if number(body, b"Flags", U32_MAX) & _IS_ACK:
            return SerfOther(kind)
        sender = given_name(body, b"From")
        return SerfAnswer(
            _ltime(body, b"LTime"), number(body, b"ID", U32_MAX), sender, octets(body, b"Payload")
        )
    if kind <= _LAST_KIND:
        return SerfOther(kind)
    raise WireError(BAD_TYPE, f"Serf has no message type {kind}")


def _read_query(body: Body) -> SerfQuery:
    filters, flags = body.get(b"Filters"), number(body, b"Flags", U32_MAX)
    return SerfQuery(
        _ltime(body, b"LTime"),
        number(body, b"ID", U32_MAX),
        address(body, b"Addr", b"Port"),
        text(body, b"Name"),
        octets(body, b"Payload"),
        direct=bool(flags & _NO_BROADCAST),
        acked=bool(flags & _WANTS_ACK),
        filtered=bool(filters),
        source_name=name(body, b"SourceNode"),
    )


def encode_key_request(key: bytes) -> bytes:
    """The payload of a query about `key`; empty where it is about all."""
    return bytes((_KEY_REQUEST,)) + pack({b"Key": key or None})


def decode_key_request(payload: bytes) -> bytes:
    """The key that a query is about, empty for none. Raises `WireError`."""
    if payload[:1] != bytes((_KEY_REQUEST,)):
        raise WireError(BAD_TYPE, "a query about keys without Serf's request")
    return octets(unpack_body(payload[1:], _KEY_REQUEST_SHAPE), b"Key")


def encode_key_answer(answer: SerfKeyAnswer) -> bytes:
    """The payload of the answer to a query about keys."""
    return bytes((_KEY_ANSWER,)) + pack(
        {
            b"Keys": [packed_text(key) for key in answer.keys],
            b"Message": packed_text(answer.text),
            b"PrimaryKey": packed_text(answer.primary),
            b"Result": answer.ok,
        }
    )


def decode_key_answer(payload: bytes) -> SerfKeyAnswer:
    """Raises `WireError`."""
    if payload[:1] != bytes((_KEY_ANSWER,)):
        raise WireError(BAD_TYPE, "an answer to a query about keys that is not Serf's")
    body = unpack_body(payload[1:], _KEY_ANSWER_SHAPE)
    keys = body.get(b"Keys") or []
    if type(keys) is not list:
        raise WireError(BAD_FIELD, "Keys that are no list")
    return SerfKeyAnswer(
        flag(body, b"Result"),
        text(body, b"Message"),
        tuple(as_text(key, b"Keys") for key in keys),
        text(body, b"PrimaryKey"),
    )


def _ltime(body: Body, key: bytes) -> int:
    return number(body, key, U64_MAX)


def _read_state(cursor: Cursor) -> SerfState:
    """A state grows with the group and with its events, so it is walked through, not built."""
    body: Body = {}
    for key in cursor.fields(_STATE_SHAPE):
        if key == b"StatusLTimes":
            body[key] = () if cursor.take_nil() else tuple(_status_ltimes(cursor))
        elif key == b"LeftMembers":
            body[key] = () if cursor.take_nil() else tuple(_left_members(cursor))
        elif key in _STATE_TIMES:
            body[key] = cursor.value()
        else:
            cursor.skip()
    return SerfState(
        _ltime(body, b"LTime"),
        body.get(b"StatusLTimes", ()),
        body.get(b"LeftMembers", ()),
        _ltime(body, b"EventLTime"),
        _ltime(body, b"QueryLTime"),
    )


def _status_ltimes(cursor: Cursor) -> Iterator[tuple[NodeName, int]]:
    for node in cursor.pairs(_NAMES_MAX):
        ltime = number({b"StatusLTimes": cursor.value()}, b"StatusLTimes", U64_MAX)
        if _fits(node):
            yield as_name(node, b"StatusLTimes"), ltime


def _left_members(cursor: Cursor) -> Iterator[NodeName]:
    for node in cursor.items(_NAMES_MAX):
        if type(node) is not bytes:
            raise WireError(BAD_FIELD, f"{type(node).__name__} among LeftMembers")
        if _fits(node):
            yield as_name(node, b"LeftMembers")


def _fits(name: bytes) -> bool:
    """Whether it can be a member of ours; a state is not refused for one that cannot."""
    return 0 < len(name) <= NAME_BYTES_MAX


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Tags as Meta, the same bytes for equal tags. `ValueError` if they pass the 512 bytes of a Meta."""
    meta = _TAGS_MAGIC + pack({packed_text(key): packed_text(tags[key]) for key in sorted(tags)})
    if len(meta) > META_BYTES_MAX:
        raise ValueError(f"tags take {len(meta)} bytes, of {META_BYTES_MAX} at most")
    return meta


def decode_tags(meta: bytes) -> dict[str, str]:
    """The tags in a Meta. One without Serf's mark is the tag `role`, as old agents send it; an empty
    one is no tags. Raises `WireError` (`bad_meta`)."""
    if not meta:
        return {}
    if meta[:1] != _TAGS_MAGIC:
        return {"role": as_text(meta, b"role")}
    try:
        tags = unpack(meta[1:])
    except WireError as error:
        raise WireError(BAD_META, error.detail) from None
    if tags is None:
        return {}
    if type(tags) is not dict or not all(type(value) is bytes for value in tags.values()):
        raise WireError(BAD_META, "tags that are no map of texts")
    return {as_text(key, b"tags"): as_text(value, b"tags") for key, value in tags.items()}
