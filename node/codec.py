"""The messages of `node.protocol` as frames, and back: the one codec of node and manager."""

from dataclasses import MISSING, fields
from itertools import pairwise
from typing import Any, get_args, get_type_hints

import msgpack

from node.latency import BUCKETS
from node.protocol import (
    CHUNK_BYTES_MAX,
    FRAME_BYTES_MAX,
    ITEMS_MAX,
    LABELS_MAX,
    NO_CONFIG,
    SERVED_MAX,
    SERVED_NAME_MAX,
    TEXT_MAX,
    AnyMessage,
    ConfigState,
    Data,
    Lease,
    Leases,
    Limit,
    Limits,
    ManagerMessage,
    NodeMessage,
    Report,
    Served,
)


class ProtocolError(Exception):
    """The other end's fault: count it, close with `CLOSE_PROTOCOL`, carry on. The text names the field."""


_CONFIG_FIELDS = tuple((f.name, get_type_hints(ConfigState)[f.name]) for f in fields(ConfigState))

_KINDS: dict[str, type[AnyMessage]] = {
    kind.__name__.lower(): kind for group in (NodeMessage, ManagerMessage) for kind in get_args(group)
}


def _read_text(value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        raise ValueError(f"must be text of at most {TEXT_MAX} characters")
    return value


def _read_bytes(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) > TEXT_MAX:
        raise ValueError(f"must be at most {TEXT_MAX} bytes")
    return value


def _read_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError("must be a whole number from 0 to 2^63 - 1")
    return value


def _read_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        raise ValueError("must be a number from 0 to 1e18")
    return float(value)


def _read_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _read_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        raise ValueError(f"must be a list of at most {ITEMS_MAX} texts")
    return tuple(_read_text(item) for item in value)


def _read_counters(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        raise ValueError(f"must be a map of at most {ITEMS_MAX} numbers")
    for name, number in value.items():
        # As nearly every report has them: nothing is to be made anew.
        if (
            type(number) is not float
            or not 0.0 <= number < 1e18
            or type(name) is not str
            or len(name) > TEXT_MAX
        ):
            return {_read_text(name): _read_float(number) for name, number in value.items()}
    return value


def _read_labels(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > LABELS_MAX:
        raise ValueError(f"must be a map of at most {LABELS_MAX} texts")
    return {_read_text(name): _read_text(text) for name, text in value.items()}


def _read_leases(value: object) -> Leases:
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        raise ValueError(f"must be a map of at most {ITEMS_MAX} leases")
    leases = {}
    for name, parts in value.items():
        if not isinstance(parts, list) or len(parts) < 2:
            raise ValueError("must map each name to [duration, reuse_last, safe max_rate, its every]")
        safe = None
        if len(parts) > 3:
            safe = _read_limits({name: [parts[2], parts[3]]})[name]
        leases[_read_text(name)] = Lease(_read_float(parts[0]), _read_float(parts[1]), safe)
    return leases


def _write_leases(leases: Leases) -> dict[str, list[float]]:
    return {
        name: [
            lease.duration,
            lease.reuse_last,
            *([lease.safe.max_rate, lease.safe.every] if lease.safe else []),
        ]
        for name, lease in leases.items()
    }


def _read_limits(value: object) -> Limits:
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        raise ValueError(f"must be a map of at most {ITEMS_MAX} limits")
    limits = {}
    for name, parts in value.items():
        if not isinstance(parts, list) or len(parts) < 2:
            raise ValueError("must map each name to [max_rate, every, per_client]")
        per_client = _read_bool(parts[2]) if len(parts) > 2 else False
        limit = Limit(_read_float(parts[0]), _read_float(parts[1]), per_client)
        if limit.every < 0.001:
            raise ValueError("must have an `every` of at least 0.001 s")
        limits[_read_text(name)] = limit
    return limits


def _write_limits(limits: Limits) -> dict[str, list[float]]:
    return {name: [limit.max_rate, limit.every, limit.per_client] for name, limit in limits.items()}


def _read_served(value: object) -> tuple[Served, ...]:
    if not isinstance(value, list) or len(value) > SERVED_MAX:
        raise ValueError(f"must be a list of at most {SERVED_MAX} rows")
    return tuple(map(_read_served_row, value))


def _read_served_row(row: object) -> Served:
    match row:
        case ["endpoint" | "backend" as kind, str(name), requests, errors, seconds, list(buckets), *_] if (
            len(name) <= SERVED_NAME_MAX and len(buckets) % 2 == 0
        ):
            found = tuple(map(_read_int, buckets))
            if all(low < high for low, high in pairwise((-1, *found[::2], BUCKETS))):
                return Served(kind, name, _read_int(requests), _read_int(errors), _read_float(seconds), found)
    raise ValueError("must have rows of [kind, name, requests, errors, seconds, [bucket, count, ...]]")


def _write_served(rows: tuple[Served, ...]) -> list[list[object]]:
    return [[row.kind, row.name, row.requests, row.errors, row.seconds, row.buckets] for row in rows]


def _read_data(value: object) -> Data:
    if not isinstance(value, bytes) or len(value) > CHUNK_BYTES_MAX:
        raise ValueError(f"must be at most {CHUNK_BYTES_MAX} bytes")
    return Data(value)


def read_config_state(value: object) -> ConfigState:
    """What `config_state_packed` gave, of any version: fields are only ever added. Raises `ValueError`."""
    if not isinstance(value, list):
        raise ValueError("must be a list")
    if not value:
        return NO_CONFIG
    parts = {name: _READERS[type_](part) for (name, type_), part in zip(_CONFIG_FIELDS, value, strict=False)}
    return ConfigState(**parts)


def config_state_packed(state: ConfigState) -> list[Any]:
    """As it stands in a frame, and on a manager's page."""
    # Most agents replace no configuration, and say nothing of it with every report.
    return [] if state == NO_CONFIG else [getattr(state, name) for name, _ in _CONFIG_FIELDS]


_READERS: dict[Any, Any] = {
    str: _read_text,
    bytes: _read_bytes,
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    tuple[str, ...]: _read_texts,
    dict[str, float]: _read_counters,
    dict[str, str]: _read_labels,
    Limits: _read_limits,
    Leases: _read_leases,
    Data: _read_data,
    tuple[Served, ...]: _read_served,
    ConfigState: read_config_state,
}

_FIELDS = {
    kind: [
        (
            f.name,
            _READERS[get_type_hints(kind)[f.name]],
            f.default is MISSING and f.default_factory is MISSING,
        )
        for f in fields(kind)
    ]
    for kind in _KINDS.values()
}


_WRITERS: dict[Any, Any] = {
    Limits: _write_limits,
    Leases: _write_leases,
    ConfigState: config_state_packed,
    tuple[Served, ...]: _write_served,
}
"""All others stand in a frame as they are."""
_WRITTEN = {
    kind: (name, [(f.name, _WRITERS.get(get_type_hints(kind)[f.name])) for f in fields(kind)])
    for name, kind in _KINDS.items()
}
_PACKER = msgpack.Packer()  # one for all: to make one takes longer than to pack most messages

REPORT_BEGINS: bytes = b"\x92" + msgpack.packb(Report.__name__.lower())
"""The first bytes of every `Report`, as `encode` writes it: a pair, of which this is the first half."""


def encode(message: AnyMessage) -> bytes:
    """The frame of `message`; raises `ProtocolError` where it would exceed `FRAME_BYTES_MAX`."""
    kind, written = _WRITTEN[type(message)]
    body: dict[str, Any] = {}
    for name, writer in written:
        value = getattr(message, name)
        body[name] = value if writer is None else writer(value)
    frame: bytes = _PACKER.pack([kind, body])
    if len(frame) > FRAME_BYTES_MAX:
        raise ProtocolError(f"a {type(message).__name__} of {len(frame)} bytes exceeds {FRAME_BYTES_MAX}")
    return frame


def decode(frame: bytes) -> AnyMessage | None:
    """The message in `frame`; None for a kind that this version does not know.

    Raises `ProtocolError` for everything else that is not a whole, well-typed message.
    """
    if len(frame) > FRAME_BYTES_MAX:
        raise ProtocolError(f"a frame of {len(frame)} bytes exceeds {FRAME_BYTES_MAX}")
    try:
        unpacked = msgpack.unpackb(frame, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"the frame is not MessagePack: {error}") from error
    # Not by `match`, which takes as long as all of the unpacking.
    kind, body = unpacked if type(unpacked) is list and len(unpacked) == 2 else (None, None)
    if type(kind) is not str or type(body) is not dict:
        raise ProtocolError("a frame must be [kind, {field: value}]")
    message = _KINDS.get(kind)
    if message is None:
        return None
    values, name = {}, ""
    try:
        for name, reader, required in _FIELDS[message]:
            if name in body:
                values[name] = reader(body[name])
            elif required:
                raise ValueError("is missing")
    except ValueError as error:
        raise ProtocolError(f"{kind}.{name} {error}") from None
    return message(**values)
