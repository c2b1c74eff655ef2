"""What a gateway prints: passed on to our stdout, with the last of it kept."""

import asyncio
import contextlib
import os

KEPT_BYTES = 4096
_CHUNK = 65536


class Output:
    """Reads one pipe at a time; `last_lines` outlives each."""

    def __init__(self) -> None:
        self._kept = b""
        self._begun = b""

    async def follow(self, descriptor: int) -> None:
        """Pass on what comes from `descriptor`, which it closes, until its writers are gone."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
        )
        try:
            while data := await reader.read(_CHUNK):
                self.take(data)
        finally:
            transport.close()
            if self._begun:
                self._pass_on(self._begun + b"\n")
                self._begun = b""

    def take(self, data: bytes) -> None:
        """`data` was printed; only whole lines go on, so that none of ours falls into one of its."""
        self._kept = (self._kept + data)[-KEPT_BYTES:]
        data = self._begun + data
        whole = data.rfind(b"\n") + 1 or (len(data) if len(data) > _CHUNK else 0)
        self._begun = data[whole:]
        self._pass_on(data[:whole])

    def last_lines(self, count: int = 5) -> str:
        """The last lines of it, in one."""
        lines = [line.strip() for line in self._kept.decode(errors="replace").splitlines()]
        return " | ".join([line for line in lines if line][-count:])

    @staticmethod
    def _pass_on(data: bytes) -> None:
        with contextlib.suppress(OSError):  # as our own log: a reader that goes away costs no process
            while data:
                data = data[os.write(1, data) :]
