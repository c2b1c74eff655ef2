"""The lines that are added to a file, read again and again: it may be rotated, cut short or missing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from node.gateways.errors import GatewayError

READ_BYTES_MAX = 8 * 2**20
"""In one go; what came beyond that is skipped, so that a busy gateway's agent stays small."""
CHUNK_BYTES = 64 * 2**10
LINE_BYTES_MAX = 16 * 2**10
"""A longer line is none of a gateway's."""


class Tail:
    """What is in `path` when it is first looked at is skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""
        self._too_long = False
        self._looked = False
        self._replaced = False
        self.skipped_bytes = 0
        """Of what came faster than it was read."""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def new_lines(self) -> Iterator[list[bytes]]:
        """Whole lines that came since, some at a time, so that the caller can do other things in between.

        Raises `GatewayError` where the file may not be read.
        """
        first, self._looked = not self._looked, True
        if self._file is None and not self._open(at_end=first):
            return
        assert self._file is not None
        yield from self._read(self._file)
        if not self._was_replaced(self._file):
            return
        if not self._replaced:
            # Its writer goes on in the old file for a moment: that is for the next time.
            self._replaced = True
            return
        self.close()
        self._begun, self._too_long = b"", False
        if self._open(at_end=False):
            yield from self._read(self._file)

    def _open(self, *, at_end: bool) -> bool:
        try:
            self._file = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise GatewayError(f"{self._path} cannot be read: {error.strerror}") from None
        self._replaced = False
        if at_end:
            self._file.seek(0, os.SEEK_END)
        return True

    def _was_replaced(self, file: BinaryIO) -> bool:
        try:
            now = self._path.stat()
        except OSError:
            return False
        ours = os.fstat(file.fileno())
        return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino)

    def _read(self, file: BinaryIO) -> Iterator[list[bytes]]:
        size, at = os.fstat(file.fileno()).st_size, file.tell()
        if size < at:  # cut short: it is written from its start again
            at = file.seek(0)
            self._begun, self._too_long = b"", False
        if size - at > READ_BYTES_MAX:
            self.skipped_bytes += size - at - READ_BYTES_MAX
            file.seek(size - READ_BYTES_MAX)
            self._begun, self._too_long = b"", True  # most likely within a line
        left = size - file.tell()
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield self._lines(chunk)

    def _lines(self, chunk: bytes) -> list[bytes]:
        *whole, begun = (self._begun + chunk).split(b"\n")
        if whole and self._too_long:
            del whole[0]
            self._too_long = False
        if len(begun) > LINE_BYTES_MAX:
            begun, self._too_long = b"", True
        self._begun = begun
        return whole
