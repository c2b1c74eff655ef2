"""What a node must not lose, in one file that is whole at every moment.

`DIRECTORY/NAME/state.json`, 0600: key, id, ticket and its life, incarnation, the last limits and which are
in force, what an operator ordered last, and the process of the gateway under supervision. It is written
aside, synced, renamed into place, and its directory synced, before anyone acts on it. `lock` beside it is
held for as long as the agent lives. `renewed` has the time of the last renewal of the leases; it is not
synced, since after a power cut no lease is left.
"""

import os
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.effects import NodeState
from node.folder import InUse, LockedFolder
from node.life import Life
from node.protocol import Lease, Limit

SYSTEM_DIRECTORY = Path("/var/lib/krakend-cluster")
FILE_BYTES_MAX = 1024 * 1024
FORMAT = 1
"""Of the file: a later one may say what this agent does not know."""


class StateError(Exception):
    """The state cannot be had or kept; the text says why and what to do."""


class ProcessId(BaseModel):
    """A process, told from a later one of the same number by when it started."""

    model_config = ConfigDict(frozen=True)

    pid: Annotated[int, Field(gt=1)]
    start_time: int
    """Clock ticks after boot: field 22 of /proc/PID/stat."""


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True)

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    id: str
    ticket: str
    life: Life | None = None
    incarnation: Annotated[int, Field(ge=0, lt=2**63)]
    limits_version: Annotated[int, Field(ge=0, lt=2**63)]
    limits: dict[str, Limit]
    leases: dict[str, Lease] = {}
    in_force: dict[str, Limit] = {}
    config_version: Annotated[int, Field(ge=0, lt=2**63)] = 0
    service: str = ""
    order_serial: Annotated[int, Field(ge=0, lt=2**63)] = 0
    order_writer: str = ""
    free_limits: dict[str, Limit] = {}
    degrade_after: Annotated[float, Field(ge=0)] = 0.0
    rejoin_window: Annotated[float, Field(ge=0)] = 0.0
    gateway: ProcessId | None
    agent: ProcessId | None = None


def state_directory(configured: str, name: str, environ: Mapping[str, str]) -> Path:
    """Where the node called `name` keeps its state."""
    if configured:
        return Path(configured).expanduser() / name
    system = SYSTEM_DIRECTORY if SYSTEM_DIRECTORY.exists() else SYSTEM_DIRECTORY.parent
    if os.access(system, os.W_OK | os.X_OK):
        return SYSTEM_DIRECTORY / name
    home = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "krakend-cluster" / name


class StateFile:
    """The state on disk; while it is open no other agent can open it."""

    def __init__(self, directory: Path) -> None:
        """Create and lock `directory` and read what is there; raises `StateError`."""
        self.path = directory / "state.json"
        self.state: NodeState | None = None
        """What was last saved; None before a node's first start."""
        self.gateway: ProcessId | None = None
        self.agent: ProcessId | None = None
        """Who started that gateway."""
        try:
            self._folder = LockedFolder(directory)
        except InUse as holder:
            raise StateError(
                f"{directory} is in use by another agent, pid {holder}:"
                " stop it, or give this node another `name:`"
            ) from None
        except OSError as error:
            raise StateError(
                f"{directory} cannot hold the node's state ({_why(error)}): name another `state_dir:`"
            ) from None
        try:
            self._read()
        except BaseException:
            self._folder.close()
            raise

    def save(self, state: NodeState) -> None:
        """`state` is on disk when this returns; after a `StateError` it is that, or what was there, whole."""
        self._write(state, self.gateway, self.agent)
        self.state = state

    def record_gateway(self, gateway: ProcessId | None, agent: ProcessId | None = None) -> None:
        """Keep `gateway` and the `agent` that started it, beside a saved state; same promise as `save`."""
        if self.state is None:
            raise StateError(f"{self.path} is not yet written")
        self._write(self.state, gateway, agent)
        self.gateway, self.agent = gateway, agent

    def note_renewal(self, wall: float) -> None:
        """The leases were renewed at `wall`, seconds since 1970."""
        aside = self.path.with_name(".renewed.new")
        try:
            aside.write_text(f"{_boot_id()} {wall:.3f}\n")
            aside.rename(self.path.with_name("renewed"))
        except OSError:
            pass  # then they count as renewed earlier than they were

    def renewed_ago(self, wall: float) -> float:
        """Seconds since the last renewal; infinite where that is not known for certain."""
        try:
            boot_id, text = self.path.with_name("renewed").read_text().split()
            ago = wall - float(text)
        except (OSError, ValueError):
            return inf
        return ago if ago >= 0.0 and boot_id == _boot_id() else inf

    def silent_for(self, wall: float) -> float:
        """Seconds since a manager was last heard, over reboots too; 0 where that is not known."""
        try:
            _, text = self.path.with_name("renewed").read_text().split()
            return max(0.0, wall - float(text))
        except (OSError, ValueError):
            return 0.0

    def close(self) -> None:
        """Let another agent have the state."""
        self._folder.close()

    def _read(self) -> None:
        try:
            with self.path.open("rb") as stream:
                stored = _Stored.model_validate_json(stream.read(FILE_BYTES_MAX))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StateError(f"{self.path} cannot be read: {_why(error)}") from None
        except ValidationError as error:
            raise StateError(self._explained(error)) from None
        self.gateway, self.agent = stored.gateway, stored.agent
        self.state = NodeState(
            key=bytes.fromhex(stored.key),
            id=stored.id,
            ticket=stored.ticket,
            life=stored.life,
            incarnation=stored.incarnation,
            limits_version=stored.limits_version,
            limits=stored.limits,
            leases=stored.leases,
            in_force=stored.in_force,
            config_version=stored.config_version,
            service=stored.service,
            order=(stored.order_serial, stored.order_writer),
            free_limits=stored.free_limits,
            degrade_after=stored.degrade_after,
            rejoin_window=stored.rejoin_window,
        )

    def _explained(self, error: ValidationError) -> str:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("format",) and isinstance(first["input"], int) and first["input"] > FORMAT:
            return (
                f"{self.path} was written by a newer agent (format {first['input']}, this one knows "
                f"{FORMAT}): upgrade this agent"
            )
        where = ".".join(map(str, first["loc"]))
        # An older copy may hold a ticket that another node has by now.
        return (
            f"{self.path} is damaged ({f'at {where}' if where else 'it is not whole'}): delete it, and this"
            " becomes a new node that needs a seat of its own; put no older copy in its place"
        )

    def _write(self, state: NodeState, gateway: ProcessId | None, agent: ProcessId | None) -> None:
        stored = _Stored(
            key=state.key.hex(),
            id=state.id,
            ticket=state.ticket,
            life=state.life,
            incarnation=state.incarnation,
            limits_version=state.limits_version,
            limits=state.limits,
            leases=state.leases,
            in_force=state.in_force,
            config_version=state.config_version,
            service=state.service,
            order_serial=state.order[0],
            order_writer=state.order[1],
            free_limits=state.free_limits,
            degrade_after=state.degrade_after,
            rejoin_window=state.rejoin_window,
            gateway=gateway,
            agent=agent,
        )
        try:
            write_atomically(self.path, stored.model_dump_json().encode() + b"\n", mode=0o600)
        except OSError as error:
            raise StateError(f"{self.path} cannot be written: {_why(error)}") from None


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Whoever reads `path`, also after a power cut, finds the old content or `content`, whole.

    Raises OSError; then the old content is there, or, where its folder could not be synced, either.
    """
    aside = path.with_name(f".{path.name}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.rename(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
