"""The gateway's own configuration file: what is in it, what of it runs, and what is to come."""

from hashlib import sha256
from pathlib import Path

from node.config import GatewaySettings
from node.gateways.errors import GatewayError
from node.gateways.files import Files
from node.state import write_atomically


class ConfigFile:
    """Call `look` often: it reads the file only where that has changed."""

    def __init__(self, settings: GatewaySettings, folder: Path) -> None:
        """`folder` is the agent's own, for what is to come."""
        self.on_disk = ""
        """SHA-256 in hex of what the file holds, empty where there is none."""
        self.running = ""
        """… of what the gateway has read last."""
        # A HAProxy that is left alone cannot be told to read its file again.
        alone = settings.kind == "haproxy" and settings.supervise == "none"
        self.managed = bool(settings.config) and not alone
        self._path = Path(settings.config) if settings.config else None
        self._staged = folder / "staged"
        self._seen: tuple[int, int, int] | None = None
        self._restarts = -1

    def look(self, restarts: int) -> None:
        """See what has become of the file; a gateway that was started again has read it."""
        try:
            status = None if self._path is None else self._path.stat()
        except OSError:
            status = None
        seen = None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen and self._path is not None:
            try:
                content = Files.read(self._path)
            except GatewayError:
                content = None
            self._seen = seen
            self.on_disk = "" if content is None else sha256(content).hexdigest()
        if restarts != self._restarts:
            self._restarts = restarts
            self.running = self.on_disk

    def taken(self) -> None:
        """The gateway has just read the file."""
        self._restarts = -1

    def stage(self, content: bytes) -> None:
        """Keep `content` for later. Raises `GatewayError`."""
        try:
            write_atomically(self._staged, content, 0o600)
        except OSError as error:
            raise GatewayError(f"{self._staged} cannot be written: {error.strerror}") from None

    def staged(self, hash_: str) -> bytes:
        """What was kept, if it is what `hash_` says. Raises `GatewayError`."""
        content = Files.read(self._staged)
        if content is None or sha256(content).hexdigest() != hash_:
            raise GatewayError(f"{self._staged} does not hold what was fetched: it is fetched anew")
        return content
