"""How managers of one group know each other over HTTP: by a token where there are any, else by a proof.

The proof shows that who asks knows `group.secret`, wherever its packets seem to come from. It is good for one
question and its body, for two minutes: whoever reads it on its way learns no key to anything else.
"""

import hmac
from hashlib import sha256

from manager.web.operations import Operations

HEADER = "X-KCM-Proof"
SECONDS = 120.0
"""How far the wall clocks of two managers may differ."""


def headers_for(operations: Operations, method: str, path: str, body: bytes = b"") -> dict[str, str]:
    """What to send along with a question to another manager."""
    if operations.peers_token:
        return {"Authorization": f"Bearer {operations.peers_token}"}
    secret = operations.core.config.secret
    at = str(int(operations.core.group.wall(operations.now())))
    return {HEADER: f"{at}.{_mac(secret, at, method, path, body)}"} if secret else {}


def is_proof(shown: str, secret: str, method: str, path: str, body: bytes, wall: float) -> bool:
    """Whether whoever sent this question knows `secret`; `wall`: seconds since 1970."""
    at, _, mac = shown.partition(".")
    if not secret or not (at.isascii() and at.isdigit() and len(at) < 20) or abs(int(at) - wall) > SECONDS:
        return False
    return hmac.compare_digest(mac.encode(errors="replace"), _mac(secret, at, method, path, body).encode())


def _mac(secret: str, at: str, method: str, path: str, body: bytes) -> str:
    key = hmac.digest(secret.encode(), b"kcm managers ask each other", "sha256")
    said = "\n".join((at, method, path, sha256(body).hexdigest()))
    return hmac.new(key, said.encode(errors="replace"), "sha256").hexdigest()
