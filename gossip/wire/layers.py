"""What stands around everything that the members of one group send: its label, and the seal of its keys."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gossip.errors import WireError
from gossip.wire.bodies import LABEL
from gossip.wire.reasons import LABEL as LABELLED
from gossip.wire.seal import NONCE_BYTES, SEAL_OVERHEAD, Keyring

LABEL_BYTES_MAX: Final = 255


def _no_bytes(count: int) -> bytes:
    raise AssertionError("layers with a keyring are given `random_bytes`")


@dataclass(frozen=True, slots=True)
class Layers:
    """A label keeps groups on one network apart, keys keep strangers out; each may be missing.

    `random_bytes` is where nonces come from: `os.urandom` for whoever sends.
    """

    keyring: Keyring | None = None
    label: bytes = b""
    random_bytes: Callable[[int], bytes] = field(default=_no_bytes, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.label) > LABEL_BYTES_MAX:
            raise ValueError(f"has {len(self.label)} bytes, at most {LABEL_BYTES_MAX} are allowed")

    @property
    def overhead(self) -> int:
        """Bytes that they add to a packet."""
        return len(self.label_header) + (0 if self.keyring is None else SEAL_OVERHEAD)

    @property
    def label_header(self) -> bytes:
        return bytes((LABEL, len(self.label))) + self.label if self.label else b""

    def around(self, packet: bytes) -> bytes:
        """`packet` as it is sent."""
        return self.label_header + self.sealed(packet, self.label)

    def sealed(self, plain: bytes, context: bytes) -> bytes:
        """`plain` under the primary key, where there is one."""
        if self.keyring is None:
            return plain
        return self.keyring.seal(plain, context, self.random_bytes(NONCE_BYTES))

    def unlabelled(self, packet: bytes) -> bytes:
        """`packet` without its label; raises `WireError` where it has not ours, or one where we have none."""
        header = self.label_header
        if not packet.startswith(header):
            raise WireError(LABELLED, "the packet is not labelled as those of our group")
        if not header and packet[:1] == bytes((LABEL,)):
            raise WireError(LABELLED, "the packet belongs to a group with a label")
        return packet[len(header) :]

    def nonce(self, packet: bytes) -> bytes:
        """The nonce of a packet as it was sent; of no use where there is no keyring."""
        start = len(self.label_header) + 1
        return packet[start : start + NONCE_BYTES]


PLAIN: Final = Layers()
"""No layers: what packets and streams have by default."""
