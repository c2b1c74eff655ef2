"""Reads a signed subscription on this host: from a file, or from a variable of the environment."""

import os
from base64 import b64decode
from pathlib import Path

from manager.subscription.documents import DOCUMENT_BYTES_MAX

SUBSCRIPTION_FILE = Path("/etc/krakend/LICENSE")
VARIABLE = "KRAKEND_LICENSE_BASE64"


class SubscriptionFile:
    """Reads it whenever it has changed. `name`: the file; empty where nothing is to be read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: tuple[int, int, int] | None = None
        self._read_variable = False

    def read(self) -> tuple[str, str] | None:
        """The text, and where it is from; None where there is nothing new. The variable beats the file."""
        if not self._name:
            return None
        variable = os.environ.get(VARIABLE, "")
        if variable:
            if self._read_variable:
                return None
            self._read_variable = True
            try:
                return b64decode(variable, validate=True).decode("utf-8", errors="replace"), VARIABLE
            except ValueError:
                # Not base64: what it is instead is for the reader of the document to say.
                return variable, VARIABLE
        try:
            state = os.stat(self._name)
            stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
            if stamp == self._seen:
                return None
            with open(self._name, "rb") as file:
                raw = file.read(DOCUMENT_BYTES_MAX + 1)
        except OSError:
            self._seen = None
            return None
        self._seen = stamp
        return raw.decode("utf-8", errors="replace"), self._name
