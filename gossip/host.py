"""The sockets of one member: datagrams and streams, decoded, with every bound on what strangers may cost.

A thin shell: nothing is decided here but what is dropped unread.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, cast

from gossip.effects import OpenStream, Send
from gossip.errors import WireError
from gossip.messages import Address, Message, StreamError, StreamMessage
from gossip.wire import PLAIN, Layers, Nonces, StreamReader, decode_packet, encode_packet, encode_stream
from gossip.wire.reasons import BAD_COMPRESSION, ENCRYPTED, PLAINTEXT, REPLAYED, UNDECRYPTABLE

STREAMS_MAX = 128
"""Streams that are served at once; more are closed unread."""
STREAM_SECONDS_MAX = 10.0
"""For a whole exchange that somebody else began."""
HELD_BYTES_MAX = 24 * 1024 * 1024
"""Held of all streams together that others began; beyond it only such are read on as hold little."""
LITTLE_BYTES = 64 * 1024
NONCES_MAX = 16384
"""Sealed packets among which one that comes again is known: those of some minutes, in 3 MB at most."""
_READ_BYTES = 65536
_KEYS = frozenset({ENCRYPTED, PLAINTEXT, UNDECRYPTABLE})
_OTHER_KEY = "what answers there has another gossip.key, or none"
_NO_GOSSIP = "what answers there does not speak gossip: is it the gossip port?"
_EXPLAINED = frozenset({BAD_COMPRESSION, ENCRYPTED, PLAINTEXT, UNDECRYPTABLE})
"""What a peer that connected is told about, as peers tell us; anything else ends in silence."""


class GossipSockets(asyncio.DatagramProtocol):
    """One UDP and one TCP socket on the same address.

    `packet` gets the messages of each datagram and its sender; `stream` gets a request and gives the
    answer, None for none; `rejected` is told the reason and the IP address of all that was dropped;
    `near` says from which IP addresses anything is taken at all; `layers` are those of the group, and may
    be replaced at any time, as in a rotation of keys.
    """

    def __init__(
        self,
        *,
        packet: Callable[[tuple[Message, ...], Address], None],
        stream: Callable[[StreamMessage], Awaitable[StreamMessage | None]],
        rejected: Callable[[str, str], None],
        near: Callable[[str], bool],
        layers: Layers = PLAIN,
    ) -> None:
        self._packet = packet
        self._stream = stream
        self._rejected = rejected
        self._near = near
        self.layers = layers
        self._nonces = Nonces(NONCES_MAX)
        self._held = 0
        self._unpacking = asyncio.Lock()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self.family = socket.AF_INET
        """Of `bind`, once open: by it alone we are reached, and reach others."""
        self._from: tuple[str, int] | None = None
        """Where streams that we open come from, as datagrams do; None: whatever the route to a member has."""
        self._serving: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()

    async def open(self, bind: str, port: int) -> None:
        """Listen; raises `OSError` where the port is taken."""
        loop = asyncio.get_running_loop()
        self.family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._from = None if ip_address(bind).is_unspecified else (bind, 0)
        self._tcp = await asyncio.start_server(
            self._accept, bind, port, family=self.family, backlog=STREAMS_MAX
        )
        try:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: self, (bind, port), family=self.family)
        except OSError:
            self._tcp.close()
            raise

    async def close(self) -> None:
        """Stop listening, and end what is under way."""
        tasks = [*self._serving, *self._asking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()

    # Datagrams

    def send(self, effect: Send) -> None:
        """Send one packet; that a datagram is lost is nothing new to the core."""
        if self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(encode_packet(effect.messages, effect.crc, self.layers), effect.address)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        host = str(addr[0])
        if not self._near(host):
            self._rejected("not_near", host)
            return
        sealed = self.layers.keyring is not None
        nonce = self.layers.nonce(data) if sealed else b""
        if sealed and nonce in self._nonces:
            self._rejected(REPLAYED, host)
            return
        try:
            packet = decode_packet(data, self.layers)
        except WireError as error:
            self._rejected(error.reason, host)
            return
        if sealed:
            self._nonces.add(nonce)
        for reason in packet.rejected:
            self._rejected(reason, host)
        self._packet(packet.messages, Address.of(host, addr[1]))

    # Streams

    def ask(self, effect: OpenStream, answered: Callable[[StreamMessage | None, str], None]) -> None:
        """Carry out `effect`; `answered` is called once, unless we are closed before.

        It is told the answer and an empty text, or None and why there is none.
        """
        self._keep(self._asking, self._exchange(effect, answered))

    async def _exchange(
        self, effect: OpenStream, answered: Callable[[StreamMessage | None, str], None]
    ) -> None:
        answer: StreamMessage | None = None
        why = ""
        try:
            async with asyncio.timeout(effect.timeout):
                to = effect.address
                reader, writer = await asyncio.open_connection(to.host, to.port, local_addr=self._from)
                try:
                    writer.write(encode_stream(effect.message, self.layers))
                    await writer.drain()
                    if effect.answered:
                        answer = await self._read(reader, effect.address.host, answer=True)
                finally:
                    writer.close()
                if effect.answered and answer is None:
                    why = "the connection was closed there without an answer"
        except TimeoutError:
            why = f"no answer within {effect.timeout:g} s"
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
        except WireError as error:
            self._rejected(error.reason, effect.address.host)
            why = _OTHER_KEY if error.reason in _KEYS else _NO_GOSSIP
        if isinstance(answer, StreamError):
            self._rejected("error_answered", effect.address.host)
            answer, why = None, _OTHER_KEY
        answered(answer, why)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        host = str(peer[0]) if peer else ""
        if not self._near(host):
            self._refuse(writer, "not_near", host)
        elif len(self._serving) >= STREAMS_MAX:
            self._refuse(writer, "too_many_streams", host)
        else:
            self._keep(self._serving, self._serve(reader, writer, host))

    def _refuse(self, writer: asyncio.StreamWriter, reason: str, host: str) -> None:
        self._rejected(reason, host)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        try:
            async with asyncio.timeout(STREAM_SECONDS_MAX):
                answer = await self._answer(reader, host)
                if answer is not None:
                    writer.write(encode_stream(answer, self.layers, answer=True))
                    await writer.drain()
        except TimeoutError:
            self._rejected("too_slow", host)
            writer.transport.abort()
        except OSError:
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, host: str) -> StreamMessage | None:
        """What to say to who connected, None for nothing. Raises `OSError`."""
        try:
            request = await self._read(reader, host)
        except WireError as error:
            self._rejected(error.reason, host)
            return StreamError(error.detail) if error.reason in _EXPLAINED else None
        return None if request is None else await self._stream(request)

    async def _read(
        self, reader: asyncio.StreamReader, host: str, *, answer: bool = False
    ) -> StreamMessage | None:
        """One message; None where the other side closes first. Raises `WireError`, `OSError`."""
        parser = StreamReader(self.layers, answer=answer, deferred=True)
        held = 0
        try:
            while data := await reader.read(_READ_BYTES):
                if not answer:
                    held += len(data)
                    self._held += len(data)
                    if self._held > HELD_BYTES_MAX and held > LITTLE_BYTES:
                        raise WireError("too_many_bytes", f"{self._held} bytes of unfinished streams")
                message = parser.feed(data)
                if parser.unpacks_next:
                    # One at a time, and elsewhere: what strangers compress must not keep the loop.
                    async with self._unpacking:
                        message = await asyncio.to_thread(parser.feed, b"")
                if message is not None:
                    for reason in parser.rejected:
                        self._rejected(reason, host)
                    return message
            return None
        finally:
            self._held -= held

    def _keep(self, tasks: set[asyncio.Task[None]], work: Any) -> None:
        task = cast("asyncio.Task[None]", asyncio.ensure_future(work))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
