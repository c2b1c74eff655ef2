"""What tells one installation of an agent from others, also when its state is lost: nothing that names it.

A newcomer that has the fingerprint of a node just lost comes in its place (managers: `subscription.surge`).
"""

from hashlib import blake2b
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")


def fingerprint(folder: Path, machine_id: Path = MACHINE_ID) -> str:
    """Of the host and the place of the node's state in it; empty where the host has no id.

    A hash, since a machine's id is nobody's business: whoever has it cannot know the id from this.
    """
    try:
        host = machine_id.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    if not host:
        return ""
    place = str(folder.resolve()).encode("utf-8", "surrogateescape")
    return blake2b(place, key=host.encode()[:64], digest_size=16, person=b"kcm fingerprint").hexdigest()
