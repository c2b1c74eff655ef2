"""The gateways that an agent can look after, behind one protocol, `Gateway`."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from node.config import GatewaySettings
from node.gateways.adapter import Gateway
from node.gateways.alone import Alone
from node.gateways.child import Child
from node.gateways.command import CommandGateway
from node.gateways.files import Files
from node.gateways.haproxy import HaproxyGateway
from node.gateways.krakend import KrakendGateway
from node.gateways.nginx import NginxGateway
from node.gateways.none import NoGateway
from node.gateways.supervisor import Supervisor
from node.gateways.systemd import Unit
from node.state import ProcessId

_GRACEFUL = {"nginx": signal.SIGQUIT, "haproxy": signal.SIGUSR1}


def open_gateway(
    settings: GatewaySettings,
    environ: Mapping[str, str],
    record: Callable[[ProcessId | None], None],
    folder: Path,
) -> Gateway:
    """The gateway that `settings` describe.

    `record` is told which process it is; the agent's own files for it are kept in `folder`.
    """
    if settings.kind != "none":
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    rendered = Path(settings.limits or folder / "krakend.json")
    master_socket = Path(f"{settings.socket}.master") if settings.supervise == "child" else None
    supervisor = _supervisor(settings, environ, record, _command(settings, rendered, master_socket))
    limits = str(rendered) if settings.kind == "krakend" else settings.limits
    files = Files(folder / "good", [Path(path) for path in (settings.config, limits) if path])
    match settings.kind:
        case "none":
            return NoGateway(settings, supervisor, files)
        case "command":
            return CommandGateway(settings, supervisor, files)
        case "krakend":
            return KrakendGateway(settings, supervisor, files, rendered)
        case "nginx":
            return NginxGateway(settings, supervisor, files)
        case "haproxy":
            return HaproxyGateway(settings, supervisor, files, master_socket)


def _command(settings: GatewaySettings, rendered: Path, master_socket: Path | None) -> tuple[str, ...]:
    """How to start it in the foreground."""
    program = settings.program or settings.kind
    config = str(Path(settings.config).absolute())
    match settings.kind:
        case "krakend":
            return (program, "run", "-c", str(rendered))
        case "nginx":
            return (program, "-e", "stderr", "-c", config, "-g", "daemon off;")
        case "haproxy":
            return (program, "-W", "-S", str(master_socket), "-f", config)
        case "none" | "command":
            return settings.run


def _supervisor(
    settings: GatewaySettings,
    environ: Mapping[str, str],
    record: Callable[[ProcessId | None], None],
    command: tuple[str, ...],
) -> Supervisor:
    if settings.supervise == "systemd":
        return Unit(settings.unit, settings.health)
    if settings.supervise == "none" or settings.kind == "none":
        return Alone(settings.health, settings.pid_file)
    return Child(
        command,
        environ,
        record,
        health_url=settings.health,
        stop_timeout=settings.stop_timeout,
        stop_signal=_GRACEFUL.get(settings.kind, signal.SIGTERM),
    )
