"""The files that an agent writes for its gateway, and the last contents with which the gateway ran well."""

from collections.abc import Sequence
from pathlib import Path

from node.gateways.errors import GatewayError
from node.state import write_atomically

FILE_BYTES_MAX = 16 * 1024 * 1024


class Files:
    """`paths` are the gateway's; `folder`, made when first needed, holds the copies."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self._folder = folder
        self._paths = [path.absolute() for path in paths]

    @staticmethod
    def read(path: Path) -> bytes | None:
        """What `path` holds, None if there is no such file. Raises `GatewayError`."""
        try:
            with path.open("rb") as stream:
                content = stream.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise GatewayError(f"{path} cannot be read: {error.strerror}") from None
        if len(content) > FILE_BYTES_MAX:
            raise GatewayError(f"{path} is larger than {FILE_BYTES_MAX} bytes: is it the right file?")
        return content

    @staticmethod
    def write(path: Path, content: bytes | None, like: Path | None = None) -> None:
        """Replace it whole, so that no reader finds a part of it; None: no file. Raises `GatewayError`.

        A new file may be read by those who may read `like`: what is copied from it may be secret.
        """
        try:
            if content is None:
                path.unlink(missing_ok=True)
            else:
                model = path if path.exists() or like is None else like
                mode = model.stat().st_mode & 0o777 if model.exists() else 0o644
                write_atomically(path, content, mode)
        except OSError as error:
            raise GatewayError(f"{path} cannot be written: {error.strerror}") from None

    def keep(self) -> None:
        """The gateway runs well with what the files hold now: that is good."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise GatewayError(f"{self._folder} cannot be made: {error.strerror}") from None
        for path in self._paths:
            content, copy = self.read(path), self._copy(path)
            if content is not None and content != self.read(copy):
                write_atomically(copy, content, 0o600)

    def restore(self) -> list[Path]:
        """Put the good contents back; gives the files that differed, each kept beside itself as `.failed`."""
        restored = []
        for path in self._paths:
            good, now = self.read(self._copy(path)), self.read(path)
            if good is not None and good != now:
                if now is not None:
                    self.write(path.with_name(f"{path.name}.failed"), now, like=path)
                self.write(path, good)
                restored.append(path)
        return restored

    def _copy(self, path: Path) -> Path:
        return self._folder / str(path).strip("/").replace("/", "+")
