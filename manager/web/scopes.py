"""What each request needs: reading a viewer, changing an operator or an admin."""

from aiohttp import web

from manager.tokens import Scope

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_SCOPES = {
    ("GET", "/api/v1/keys"): Scope.ADMIN,
    ("HEAD", "/api/v1/keys"): Scope.ADMIN,
    ("PATCH", "/api/v1/subscription"): Scope.OPERATOR,
    ("PUT", "/api/v1/subscription/document"): Scope.OPERATOR,
    ("POST", "/api/v1/subscription/check"): Scope.OPERATOR,
    ("PATCH", "/api/v1/limits/{name}"): Scope.OPERATOR,
    ("DELETE", "/api/v1/limits/{name}"): Scope.OPERATOR,
    ("PUT", "/api/v1/config/{kind}"): Scope.OPERATOR,
    ("POST", "/api/v1/config/{kind}/rollback"): Scope.OPERATOR,
    ("POST", "/api/v1/rollouts/{kind}"): Scope.OPERATOR,
    ("POST", "/api/v1/nodes/{id}/drain"): Scope.OPERATOR,
    ("POST", "/api/v1/nodes/{id}/cordon"): Scope.OPERATOR,
    ("POST", "/api/v1/nodes/{id}/uncordon"): Scope.OPERATOR,
    ("POST", "/api/v1/nodes/{id}/restart"): Scope.OPERATOR,
    # A gateway's configuration may hold secrets.
    ("GET", "/api/v1/config/{kind}/versions/{version}"): Scope.OPERATOR,
    ("HEAD", "/api/v1/config/{kind}/versions/{version}"): Scope.OPERATOR,
    ("GET", "/api/v1/bundle"): Scope.OPERATOR,
    ("HEAD", "/api/v1/bundle"): Scope.OPERATOR,
    ("POST", "/api/v1/trials/{kind}"): Scope.OPERATOR,
    ("GET", "/api/v1/contents/{sha256}"): Scope.OPERATOR,
    ("HEAD", "/api/v1/contents/{sha256}"): Scope.OPERATOR,
}
"""What is neither here nor safe needs an admin."""
_AMONG_MANAGERS = {("GET", "/api/v1/contents/{sha256}"), ("POST", "/api/v1/trials/{kind}")}
_OPEN = frozenset({"/", "/static/{name}", "/health", "/ready", "/api/v1/session"})
"""Tells nothing of the group: the page's own files, what probes ask, and the way in."""


def is_among_managers(request: web.Request) -> bool:
    """Whether managers ask this of each other to do their work."""
    return (request.method, _path(request)) in _AMONG_MANAGERS


def _path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def wanted_scope(request: web.Request) -> Scope | None:
    """The scope that `request` needs; None where it needs none."""
    path = _path(request)
    if path in _OPEN:
        return None
    default = Scope.VIEWER if request.method in SAFE else Scope.ADMIN
    return _SCOPES.get((request.method, path), default)
