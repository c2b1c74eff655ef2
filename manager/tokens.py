"""Tokens that people, monitors and nodes show: random, kept only as hashes, compared in constant time."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

TOKEN_CHARS_MAX = 200
"""Longer ones are not even hashed."""
_PREFIX = "kcm_"


class Scope(StrEnum):
    """What a token is for; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, wanted: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """`digest`: the SHA-256 of the token, in hex. A fast hash will do: nobody guesses 256 random bits."""

    name: str
    scope: Scope
    digest: str


@dataclass(frozen=True, slots=True)
class JoinToken:
    """Lets newcomers in as nodes: until `expires`, in seconds since 1970; `uses` are known at any time."""

    name: str
    digest: str
    expires: float | None = None
    uses: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    """Of the nodes that come in by it; over those that they give themselves."""


Token = TypeVar("Token", ApiToken, JoinToken)


def token_of(random_bytes: bytes) -> str:
    """A token's text, behind a prefix that searches for leaked secrets can look for."""
    return _PREFIX + urlsafe_b64encode(random_bytes).decode().rstrip("=")


def digest(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def find_token(shown: str, tokens: Iterable[Token]) -> Token | None:
    """The one whose text is `shown`; always compares with all of them."""
    return next(iter([token for token in tokens if _is(shown, token.digest)]), None)


def _is(shown: str, kept: str) -> bool:
    return len(shown) <= TOKEN_CHARS_MAX and hmac.compare_digest(digest(shown), kept)


def peers_token(secret: str) -> str:
    """What a manager shows to another one of its group: follows from the group's secret."""
    return _PREFIX + hmac.new(secret.encode(), b"kcm managers among themselves", "sha256").hexdigest()


def why_not(token: JoinToken | None, used: int, wall: float, *, shown: bool = False) -> str:
    """Why a newcomer that shows `token` is not let in, with the remedy; empty where it is.

    `used`: how many other nodes are known that came in by it. `wall`: seconds since 1970. `shown`: whether
    it showed any token, known or not.
    """
    if token is None and shown:
        return "its join token is not known: compare `token` of service.yml with nodes.tokens of the managers"
    if token is None:
        return "a join token is needed: put one that its managers know into `token` of service.yml"
    if token.expires is not None and token.expires <= wall:
        return f"join token {token.name} has expired: have another one issued"
    if token.uses is not None and used >= token.uses:
        return used_up(token)
    return ""


def used_up(token: JoinToken) -> str:
    """The sentence for a newcomer beyond its uses, with the remedy."""
    return f"join token {token.name} is used up by {token.uses} nodes: have another one issued"
