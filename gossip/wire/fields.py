"""memberlist's msgpack: what its bodies are made of, and how leniently its fields are read.

Written as Go does: the old raw family for text and bytes alike, keys in ascending order, empty
bytes as nil. Read as widely as any peer may write: raw, str and bin are one type, so are all forms
of integers; a body may be an array in field order; keys may be unknown or missing, values nil.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeAlias, cast

from msgpack import ExtraData, OutOfData, Packer, Unpacker, unpackb

from gossip.errors import WireError
from gossip.messages import Address, NodeName, Versions
from gossip.wire.reasons import (
    BAD_ADDRESS,
    BAD_FIELD,
    BAD_INCARNATION,
    BAD_META,
    BAD_MSGPACK,
    BAD_NAME,
    BAD_VERSIONS,
    TOO_BIG,
    TOO_DEEP,
)

NAME_BYTES_MAX: Final = 255
META_BYTES_MAX: Final = 512

INCARNATION_LIMIT: Final = 4_000_000_000
"""Incarnations stay below it.

An agent accused at the largest 32-bit number refutes with 0 and can never outbid again. Numbers this
high can only be an attack: one that starts from the Unix time reaches them in 2096.
"""

_MAPPED: Final = bytes(10) + b"\xff\xff"
"""What an IPv4 address written as IPv6 starts with."""

U16_MAX: Final = 0xFFFF
U32_MAX: Final = 0xFFFF_FFFF
U64_MAX: Final = 0xFFFF_FFFF_FFFF_FFFF

VALUE_BYTES_MAX: Final = 64 * 1024
"""The largest value built in one go: containers take some 64 times their size in memory."""

_DEPTH_MAX: Final = 16
_ARRAY_LEN_MAX: Final = 1024
"""A list is allocated as announced, whatever follows; the longest in use has eight entries."""

_ARRAY_STARTS: Final = frozenset(bytes((first,)) for first in (*range(0x90, 0xA0), 0xDC, 0xDD))

Body: TypeAlias = dict[bytes, Any]
Shape: TypeAlias = dict[bytes, None]
"""The fields of a body, in the order in which Go declares them: an array has them in this order."""


def shape(*fields: bytes) -> Shape:
    return dict.fromkeys(fields)


# Bytes in, bytes out: with use_bin_type off they take the raw family, and no codec runs for keys.
pack: Final[Callable[[object], bytes]] = Packer(use_bin_type=False).pack


def unpack(data: bytes) -> Any:
    """The msgpack value that `data` starts with, text as bytes; what follows it is ignored.

    For data of at most `VALUE_BYTES_MAX`. Its depth is not checked: see `as_body`.
    """
    try:
        return unpackb(data, raw=True, max_array_len=_ARRAY_LEN_MAX)
    except ExtraData as extra:
        return extra.unpacked
    except ValueError as error:
        raise WireError(BAD_MSGPACK, str(error) or type(error).__name__) from None


def as_body(value: Any, shape: Shape) -> Body:
    """The fields of an unpacked body, whether it was written as a map or as an array."""
    if type(value) is dict:
        # A known field is never a container of containers, which reading it will tell.
        if not value.keys() <= shape.keys():
            _refuse_deep(value, _DEPTH_MAX)
        return cast(Body, value)
    if type(value) is list:
        _refuse_deep(value, _DEPTH_MAX)
        return dict(zip(shape, value, strict=False))
    raise WireError(BAD_MSGPACK, f"{type(value).__name__} where a message body belongs")


def _refuse_deep(value: Any, room: int) -> None:
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return
    if room == 0:
        raise WireError(TOO_DEEP, f"msgpack containers nested more than {_DEPTH_MAX} deep")
    for inner in value:
        _refuse_deep(inner, room - 1)


class Cursor:
    """Walks through a container too large to be built whole.

    Every method raises `WireError` where the bytes are not what it is asked for.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._unpacker = Unpacker(raw=True, max_buffer_size=max(len(data), 1), read_size=1)
        self._unpacker.feed(data)

    def fields(self, shape: Shape) -> Iterator[bytes]:
        """The keys of the body that comes next, map or array; take or skip the value after each."""
        if self._data[:1] in _ARRAY_STARTS:
            count = self._header(self._unpacker.read_array_header, _ARRAY_LEN_MAX)
            return (key for key, _ in zip(shape, range(count), strict=False))
        return self.pairs(_ARRAY_LEN_MAX)

    def pairs(self, most: int) -> Iterator[bytes]:
        """The keys, at most that many, of the map that comes next; take or skip the value after each."""
        for _ in range(self._header(self._unpacker.read_map_header, most)):
            key = self.value()
            if type(key) is not bytes:
                raise WireError(BAD_MSGPACK, f"{type(key).__name__} as the key of a map")
            yield key

    def items(self, most: int) -> Iterator[Any]:
        """The elements, at most that many, of the array that comes next; each as `value` gives it."""
        for _ in range(self._header(self._unpacker.read_array_header, most)):
            yield self.value()

    def value(self) -> Any:
        """The next value: bytes of any length, anything else of at most `VALUE_BYTES_MAX`."""
        data = self._data[self._skip() : self._unpacker.tell()]
        if len(data) > VALUE_BYTES_MAX and not _is_raw(data[0]):
            raise WireError(TOO_BIG, f"a container of {len(data)} bytes inside a message body")
        return unpack(data)

    def skip(self) -> None:
        """Passes over the next value without building it."""
        self._skip()

    def take_nil(self) -> bool:
        """Whether the next value is nil; passes over it if so."""
        at = self._unpacker.tell()
        if self._data[at : at + 1] != b"\xc0":
            return False
        self._skip()
        return True

    def _skip(self) -> int:
        start: int = self._unpacker.tell()
        self._checked(self._unpacker.skip)
        return start

    def _header(self, read: Callable[[], Any], most: int) -> int:
        count: int = self._checked(read)
        if count > most:
            raise WireError(TOO_BIG, f"a container of {count} elements, of {most} at most")
        return count

    @staticmethod
    def _checked(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except OutOfData:
            raise WireError(BAD_MSGPACK, "incomplete input") from None
        except ValueError as error:
            raise WireError(BAD_MSGPACK, str(error) or type(error).__name__) from None


def _is_raw(first: int) -> bool:
    return 0xA0 <= first <= 0xBF or 0xC4 <= first <= 0xC6 or 0xD9 <= first <= 0xDB


def unpack_body(data: bytes, shape: Shape) -> Body:
    """The fields of one whole body of any size, building nothing large but bytes."""
    if len(data) <= VALUE_BYTES_MAX:
        return as_body(unpack(data), shape)
    cursor = Cursor(data)
    return as_body({key: cursor.value() for key in cursor.fields(shape)}, shape)


def number(body: Body, key: bytes, largest: int) -> int:
    value = body.get(key, 0)
    if type(value) is int and 0 <= value <= largest:
        return value
    if value is None:
        return 0
    raise WireError(BAD_FIELD, f"{key.decode()} is {_shown(value)}, not a number up to {largest}")


def flag(body: Body, key: bytes) -> bool:
    value = body.get(key)
    if value is None:
        return False
    if type(value) is bool or (type(value) is int and 0 <= value <= 1):
        return bool(value)
    raise WireError(BAD_FIELD, f"{key.decode()} is {_shown(value)}, not a bool")


def octets(body: Body, key: bytes) -> bytes:
    value = body.get(key)
    if type(value) is bytes:
        return value
    if value is None:
        return b""
    if type(value) is list:
        try:
            return bytes(value)
        except (TypeError, ValueError):
            pass
    raise WireError(BAD_FIELD, f"{key.decode()} is {_shown(value)}, not bytes")


def text(body: Body, key: bytes) -> str:
    return as_text(body.get(key), key)


def as_text(value: Any, key: bytes) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if value is None:
        return ""
    raise WireError(BAD_FIELD, f"{key.decode()} is {_shown(value)}, not text")


def name(body: Body, key: bytes) -> NodeName:
    """A member's name, or none (`""`)."""
    return as_name(body.get(key), key)


def as_name(value: Any, key: bytes) -> NodeName:
    if type(value) is bytes and len(value) > NAME_BYTES_MAX:
        raise WireError(BAD_NAME, f"{key.decode()} has {len(value)} bytes")
    return as_text(value, key)


def given_name(body: Body, key: bytes) -> NodeName:
    """A member's name where there must be one."""
    value = name(body, key)
    if not value:
        raise WireError(BAD_NAME, f"{key.decode()} is empty")
    return value


def incarnation(body: Body) -> int:
    value = body.get(b"Incarnation", 0)
    if type(value) is int and 0 <= value < INCARNATION_LIMIT:
        return value
    if value is None:
        return 0
    raise WireError(BAD_INCARNATION, f"Incarnation is {_shown(value)}")


def meta(body: Body) -> bytes:
    value = octets(body, b"Meta")
    if len(value) > META_BYTES_MAX:
        raise WireError(BAD_META, f"Meta has {len(value)} bytes")
    return value


def versions(body: Body) -> Versions:
    return _versions(octets(body, b"Vsn"))


@lru_cache(256)
def _versions(raw: bytes) -> Versions:
    if len(raw) != 6:
        raise WireError(BAD_VERSIONS, f"Vsn has {len(raw)} bytes, not six")
    vector = Versions(*raw)
    if vector.protocol_min == 0:
        raise WireError(BAD_VERSIONS, f"Vsn {tuple(raw)} starts at protocol 0")
    if vector.protocol_min > vector.protocol_max or vector.delegate_min > vector.delegate_max:
        raise WireError(BAD_VERSIONS, f"Vsn {tuple(raw)} has a minimum above its maximum")
    return vector


def address(body: Body, host: bytes, port: bytes) -> Address:
    return Address(_host(octets(body, host)), number(body, port, U16_MAX))


def source(body: Body) -> Address | None:
    """Where the sender wants its answer; peers go by it only if host and port are both given."""
    raw = octets(body, b"SourceAddr")
    port = number(body, b"SourcePort", U16_MAX)
    return Address(_host(raw), port) if raw and port else None


@lru_cache(4096)
def _host(raw: bytes) -> str:
    if len(raw) == 4:
        return str(IPv4Address(raw))
    if len(raw) != 16:
        raise WireError(BAD_ADDRESS, f"an IP address of {len(raw)} bytes")
    ip = IPv6Address(raw)
    # A mapped one must not pass for a second address.
    return str(ip.ipv4_mapped or ip)


def is_mapped(body: Body, host: bytes) -> bool:
    """Whether the IPv4 address there is written as IPv6."""
    raw = octets(body, host)
    return len(raw) == 16 and raw.startswith(_MAPPED)


@lru_cache(4096)
def packed_host(host: str, mapped: bool = False) -> bytes:
    """4 or 16 bytes, an IPv4 address in 16 where it is `mapped`; `ValueError` if `host` is no IP address."""
    packed = ip_address(host).packed
    return _MAPPED + packed if mapped and len(packed) == 4 else packed


def packed_text(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _shown(value: object) -> str:
    """A value for an error's text: short, and escaped."""
    return repr(value)[:40] if isinstance(value, int | float | bytes) else type(value).__name__
