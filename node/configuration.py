"""What a node does about its gateway's configuration: the pure core, a part of the session.

It fetches what a manager wants and has the gateway check it while traffic goes on. It goes out of service
only by a permit of the session that stands and of the newest plan that it knows, and at once (rule T1).
"""

import logging
from dataclasses import dataclass
from hashlib import sha256

from node.bounds import CONFIG_BYTES_MAX
from node.effects import Change, Effect, Log, Send, Stage
from node.notes import in_short
from node.protocol import Chunk, ConfigMessage, ConfigState, Fetch, Permit, Tried, Try, Wanted


@dataclass(slots=True)
class _Download:
    """What is being fetched; `trial` is the number of a `Try`, 0 for what is wanted."""

    sha256: str
    size: int
    trial: int
    content: bytearray


class Configuration:
    """Carry out what it returns; report each `Stage` by `staged` and each `Change` by `changed`, once."""

    def __init__(self, version: int) -> None:
        """`version`: the last one that it took from a manager and ran, 0 for none."""
        self.managed = False
        self.ready = True
        self.running = ""
        self.on_disk = ""
        """Set these four whenever they change."""
        self.changing = False
        self._version, self._staged, self._failed, self._note = version, 0, 0, ""
        self._wanted: Wanted | None = None
        self._download: _Download | None = None
        self._staging: _Download | None = None

    @property
    def state(self) -> ConfigState:
        """What a hello and a report say."""
        wanted = self._wanted
        return ConfigState(
            managed=self.managed,
            ready=self.ready and not self.changing,
            changing=self.changing,
            version=self._version,
            running=self.running,
            on_disk=self.on_disk,
            staged=self._staged,
            failed=self._failed,
            note=self._note,
            plan_serial=0 if wanted is None else wanted.serial,
            plan_writer="" if wanted is None else wanted.writer,
        )

    @property
    def version(self) -> int:
        """The last version that it took from a manager and ran."""
        return self._version

    def received(self, message: ConfigMessage) -> list[Effect]:
        """A manager's word on the open session."""
        match message:
            case Wanted():
                return self._want(message)
            case Try(number=number, sha256=hash_, size=size):
                if self._download is not None or self._staging is not None or not self.managed:
                    return [Send(Tried(number=number, error="it is busy with another configuration"))]
                return self._fetch(_Download(hash_, size, number, bytearray()))
            case Chunk():
                return self._chunk(message)
            case Permit(serial=serial, writer=writer):
                return self._permitted(serial, writer)

    def resume(self) -> list[Effect]:
        """Ask again for what has not come; call it with each report."""
        if self._download is None:
            return []
        return [Send(Fetch(sha256=self._download.sha256, offset=len(self._download.content)))]

    def session_ended(self) -> None:
        """Nothing more comes of what was asked for; whoever serves us next says anew what is wanted."""
        self._download = None

    def staged(self, hash_: str, error: str) -> list[Effect]:
        """The outcome of `Stage`: `error` is empty where the gateway would run with it."""
        staging, self._staging = self._staging, None
        if staging is None or staging.sha256 != hash_:
            return []
        if staging.trial:
            return [Send(Tried(number=staging.trial, error=in_short(error))), *self._pursue()]
        wanted = self._wanted
        if wanted is None or wanted.sha256 != hash_:
            return self._pursue()
        if error:
            return self._fail(wanted, f"is not valid here: {error}")
        self._staged, self._failed, self._note = wanted.version, 0, ""
        return [Log(logging.INFO, f"Configuration {wanted.version} is here and valid")]

    def changed(self, hash_: str, error: str) -> list[Effect]:
        """The outcome of `Change`; after an `error` the gateway runs with what it had before."""
        self.changing = False
        wanted = self._wanted
        if wanted is None or wanted.sha256 != hash_:
            return self._pursue()
        if error:
            return self._fail(wanted, f"does not run here: {error}")
        self._version, self._failed, self._note = wanted.version, 0, ""
        return [Log(logging.INFO, f"The gateway runs with configuration {wanted.version}")]

    def _want(self, wanted: Wanted) -> list[Effect]:
        known = self._wanted
        if known is not None and (wanted.serial, wanted.writer) < (known.serial, known.writer):
            return []  # a manager that has not heard of the newer plan
        if known != wanted:
            self._failed, self._note, self._staged = 0, "", 0
        self._wanted = wanted
        return self._pursue()

    def _pursue(self) -> list[Effect]:
        """Fetch what is wanted, unless it is here, or runs, or something else is under way."""
        wanted = self._wanted
        if wanted is None or not self.managed or self._download is not None or self._staging is not None:
            return []
        if self.running == self.on_disk == wanted.sha256:
            self._version = wanted.version
            return []
        if wanted.version in (self._staged, self._failed) or self.changing:
            return []
        return self._fetch(_Download(wanted.sha256, wanted.size, 0, bytearray()))

    def _fetch(self, download: _Download) -> list[Effect]:
        if not 0 < download.size <= CONFIG_BYTES_MAX:
            return self._useless(download, f"has {download.size} bytes; at most {CONFIG_BYTES_MAX} are taken")
        self._download = download
        return self.resume()

    def _chunk(self, chunk: Chunk) -> list[Effect]:
        download = self._download
        if download is None or chunk.sha256 != download.sha256 or chunk.offset != len(download.content):
            return []
        if not chunk.data:
            return []  # the manager has not got it yet: with the next report we ask again
        download.content += chunk.data
        if len(download.content) < download.size:
            return self.resume()
        self._download = None
        content = bytes(download.content)
        if len(content) != download.size or sha256(content).hexdigest() != download.sha256:
            return self._useless(download, "came with another content than was announced")
        self._staging = download
        return [Stage(download.sha256, content, trial=bool(download.trial))]

    def _useless(self, download: _Download, why: str) -> list[Effect]:
        if download.trial:
            return [Send(Tried(number=download.trial, error=f"the configuration {why}"))]
        assert self._wanted is not None
        return self._fail(self._wanted, why)

    def _permitted(self, serial: int, writer: str) -> list[Effect]:
        wanted = self._wanted
        if wanted is None or (wanted.serial, wanted.writer) != (serial, writer) or self.changing:
            return []
        if self.running == self.on_disk == wanted.sha256:
            return []
        if self._staged != wanted.version:
            return self._fail(wanted, "was to be put into force, and is not here")
        self.changing, self._staged = True, 0
        return [
            Log(logging.INFO, f"The gateway goes out of service to take configuration {wanted.version}"),
            Change(wanted.sha256),
        ]

    def _fail(self, wanted: Wanted, why: str) -> list[Effect]:
        self._failed, self._staged, self._note = wanted.version, 0, in_short(why)
        return [Log(logging.ERROR, f"Configuration {wanted.version} {why}")]
