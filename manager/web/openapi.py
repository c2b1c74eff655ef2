"""What the API is, as OpenAPI 3.1: for programs, and for the tests, which hold the handlers to it."""

from functools import cache
from typing import TypeAlias

from manager.subscription.documents import MAX_NODES_MAX
from manager.traffic import BYS
from manager.version import installed_version
from manager.web.openapi_configs import paths as config_paths
from manager.web.schema import (
    FLAG,
    TEXT,
    WHOLE,
    YES_NO,
    Schema,
    answer,
    closed,
    json_answer,
    list_of,
    object_of,
    operation,
    or_null,
    query,
    whole_between,
)
from manager.web.shapes import (
    EVENT,
    KEY,
    NODE,
    STATES,
    STATUS,
    SUBSCRIPTION,
    of_audit,
    of_check,
    of_documents,
    of_founders,
    of_group,
    of_info,
    of_joined,
    of_keys,
    of_limit_change,
    of_limits,
    of_member,
    of_ordered,
    of_reachability,
    of_shares,
    of_stats,
    of_targets,
    of_totals,
    of_traffic,
    of_usage,
)

Paths: TypeAlias = dict[str, dict[str, Schema]]

_LIMIT_NAME: list[Schema] = [
    {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {**TEXT, "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,99}$"},
    }
]
_COUNT = whole_between(1, 1_000)
_AT: Schema = {"type": "number", "minimum": 0, "maximum": 1e12}
_ID: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": TEXT,
    "description": "the node's id, or its name where one node has it; else 409 names the candidates",
}
_PORT = query(port=whole_between(1, 65535))
_ID_MAX = 2**53 - 1
_ORDERS = {
    "drain": "no traffic from now on; `drained` when the gateway has had time to be rid of what it had",
    "cordon": "no traffic from now on",
    "uncordon": "traffic again",
    "restart": "drain, restart the gateway, traffic again: when it has got a turn",
}


@cache
def document() -> Schema:
    """The whole document."""
    topics = (
        _probes(),
        _manager(),
        _nodes(),
        _subscription(),
        _limits(),
        _statistics(),
        _group(),
        _discovery(),
        _doors(),
        config_paths(),
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "KrakenD cluster manager", "version": installed_version()},
        "paths": {path: operations for topic in topics for path, operations in topic.items()},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def _probes() -> Paths:
    """What monitors and programs ask first."""
    return {
        "/health": {"get": operation("health", "the process lives", json_answer("it does", STATUS))},
        "/ready": {"get": operation("ready", "nodes may be sent here", json_answer("they may", STATUS))},
        "/metrics": {"get": operation("metrics", "for Prometheus", answer("metrics", {"text/plain": TEXT}))},
        "/api/v1/openapi.json": {
            "get": operation("openapi", "this document", json_answer("the document", {"type": "object"}))
        },
    }


def _manager() -> Paths:
    """This manager itself."""
    return {
        "/api/v1/info": {
            "get": operation("info", "this manager, in short", json_answer("this manager", of_info()))
        },
        "/api/v1/checks": {
            "get": operation(
                "checks",
                "what this manager finds at its own address, peers' names, key and certificate",
                json_answer("each check, with what to do", object_of(checks=list_of(of_check()))),
            )
        },
        "/api/v1/snapshot": {
            "post": operation(
                "snapshot",
                "this manager's state as a file",
                answer("an SQLite file", {"application/octet-stream": TEXT}),
                body=closed(),
            )
        },
        "/api/v1/leave": {
            "post": operation(
                "leave",
                "end this manager, once its nodes have moved",
                json_answer("it leaves", object_of(status=TEXT, for_good=YES_NO)),
                status="202",
                body={**closed(for_good=YES_NO), "required": []},
            )
        },
    }


def _nodes() -> Paths:
    """Gateway nodes, and what an operator wants of them."""
    return {
        "/api/v1/nodes": {
            "get": operation(
                "nodes",
                "the gateway nodes, by id",
                json_answer(
                    "nodes; `next` is the cursor of the rest",
                    object_of(nodes=list_of(NODE), next=or_null(TEXT)),
                ),
                parameters=query(state={"enum": STATES}, limit=whole_between(1, 100_000), cursor=TEXT),
            )
        },
        "/api/v1/nodes/{id}": {
            "get": operation(
                "node",
                "one node",
                json_answer("the node", NODE),
                parameters=[_ID],
            ),
            "delete": operation(
                "forget_node",
                "an operator vouches that it runs nowhere: its seat is free; from this manager's host only",
                json_answer("it is forgotten", object_of(status=TEXT, id=TEXT)),
                parameters=[_ID],
                body=closed(),
            ),
        },
        **{
            f"/api/v1/nodes/{{id}}/{action}": {
                "post": operation(
                    f"{action}_node",
                    text,
                    json_answer("it is ordered", of_ordered()),
                    status="202",
                    parameters=[_ID],
                    body=closed(),
                )
            }
            for action, text in _ORDERS.items()
        },
    }


def _subscription() -> Paths:
    """The cap, and signed documents."""
    return {
        "/api/v1/subscription": {
            "get": operation(
                "subscription", "the cap, and what is left of it", json_answer("the cap", SUBSCRIPTION)
            ),
            "patch": operation(
                "set_subscription",
                "set the cap, on all managers",
                json_answer("the cap", SUBSCRIPTION),
                body=closed(max_nodes=whole_between(0, MAX_NODES_MAX)),
            ),
        },
        "/api/v1/subscription/document": {
            "put": operation(
                "install_subscription",
                "put a signed document into force, on all managers",
                json_answer("the cap", SUBSCRIPTION),
                body=closed(document=TEXT),
            ),
        },
        "/api/v1/subscription/check": {
            "post": operation(
                "check_subscription",
                "ask the issuer now",
                json_answer("it is asked", STATUS),
                status="202",
                body=closed(),
            ),
        },
        "/api/v1/subscription/history": {
            "get": operation(
                "subscription_history",
                "documents, and seats by day",
                json_answer("newest first", of_documents()),
            )
        },
        "/api/v1/subscription/usage": {
            "get": operation("usage", "seats and states over the window", json_answer("columns", of_usage()))
        },
    }


def _limits() -> Paths:
    """The cluster's limits."""
    return {
        "/api/v1/limits": {
            "get": operation(
                "limits", "the cluster's limits and each node's share", json_answer("limits", of_limits())
            )
        },
        "/api/v1/limits/{name}": {
            "patch": operation(
                "set_limit",
                "set a limit, or some of its keys, on all managers; from this manager's host only",
                json_answer("limits", of_limits()),
                parameters=_LIMIT_NAME,
                body=of_limit_change(),
            ),
            "delete": operation(
                "remove_limit",
                "take a limit away, on all managers; from this manager's host only",
                json_answer("limits", of_limits()),
                parameters=_LIMIT_NAME,
                body=closed(),
            ),
        },
        "/api/v1/limits/{name}/shares": {
            "get": operation(
                "shares",
                "who may use how much of a limit, per second",
                json_answer("managers and nodes", of_shares()),
                parameters=_LIMIT_NAME,
            )
        },
    }


def _statistics() -> Paths:
    """What nodes reported, what happened, and who changed what."""
    return {
        "/api/v1/stats": {
            "get": operation(
                "stats",
                "what nodes reported, at all managers",
                json_answer(
                    "steps of each node; with `by`, what gateways answered; `next` is the cursor of the rest",
                    {"anyOf": [of_stats(), of_traffic()]},
                ),
                parameters=[
                    *query(**{"from": _AT}),
                    *query(
                        by={"enum": list(BYS)},
                        node=TEXT,
                        limit=whole_between(1, 100_000),
                        cursor=TEXT,
                        local=FLAG,
                        to=_AT,
                        step={"type": "number", "minimum": 1, "maximum": 1e6},
                    ),
                ],
            )
        },
        "/api/v1/stats/totals": {
            "get": operation(
                "stats_totals",
                "by how much the counters of all nodes grew in each step",
                json_answer("columns", of_totals()),
                parameters=query(local=FLAG),
            )
        },
        "/api/v1/events": {
            "get": operation(
                "events",
                "what happened, newest first; as a stream for whoever accepts text/event-stream",
                answer(
                    "events; `next` is the cursor of earlier ones",
                    {
                        "application/json": object_of(events=list_of(EVENT), next=or_null(WHOLE)),
                        "text/event-stream": TEXT,
                    },
                ),
                parameters=query(
                    cursor=whole_between(0, _ID_MAX),
                    limit=_COUNT,
                    subject=TEXT,
                    after=whole_between(0, _ID_MAX),
                ),
            )
        },
        "/api/v1/audit": {
            "get": operation(
                "audit",
                "changes that were made over HTTP, newest first",
                json_answer("changes", of_audit()),
                parameters=query(local=FLAG, limit=_COUNT),
            )
        },
    }


def _group() -> Paths:
    """Who belongs to the group."""
    return {
        "/api/v1/members": {
            "get": operation(
                "members", "the gossip group", json_answer("by name", object_of(members=list_of(of_member())))
            )
        },
        "/api/v1/group": {
            "get": operation(
                "group",
                "how the managers see each other",
                json_answer("views", of_group()),
                parameters=query(local=FLAG),
            )
        },
        "/api/v1/group/founders": {
            "get": operation(
                "founders", "over whom the seats are divided", json_answer("by name", of_founders())
            )
        },
        "/api/v1/group/founders/expel": {
            "post": operation(
                "expel_founder",
                "an operator vouches that it runs nowhere, for good; from this manager's host only",
                json_answer("the founders", of_founders()),
                body=closed(name=TEXT),
            )
        },
        "/api/v1/force-leave": {
            "post": operation(
                "force_leave",
                "a dead member is not expected back: it has left, for every member",
                json_answer("the members that are listed now", object_of(members=list_of(of_member()))),
                body={**closed(name=TEXT, prune=YES_NO), "required": ["name"]},
            )
        },
        "/api/v1/join": {
            "post": operation(
                "join",
                "this manager meets whoever is at these addresses, once, and all whom they know",
                json_answer(
                    "each address, with the members that it told of, or why there are none", of_joined()
                ),
                body=closed(
                    peers={
                        **list_of({**TEXT, "minLength": 1, "maxLength": 255}),
                        "minItems": 1,
                        "maxItems": 20,
                    }
                ),
            )
        },
        "/api/v1/reachability": {
            "get": operation(
                "reachability",
                "every manager asks every member for an answer, by UDP and by TCP",
                json_answer("who answers whom after how many seconds, and what to do", of_reachability()),
                parameters=query(local=FLAG),
            )
        },
    }


def _discovery() -> Paths:
    """The nodes as other programs take them."""
    return {
        "/api/v1/sd/prometheus": {
            "get": operation(
                "sd_prometheus",
                "targets for http_sd_configs",
                json_answer("targets", of_targets()),
                parameters=_PORT,
            )
        },
        "/api/v1/sd/haproxy": {
            "get": operation(
                "sd_haproxy",
                "servers of a backend",
                answer("lines", {"text/plain": TEXT}),
                parameters=_PORT,
            )
        },
        "/api/v1/sd/nginx": {
            "get": operation(
                "sd_nginx",
                "servers of an upstream",
                answer("lines", {"text/plain": TEXT}),
                parameters=_PORT,
            )
        },
    }


def _doors() -> Paths:
    """Tokens of browsers, and the keys of the gossip."""
    return {
        "/api/v1/session": {
            "post": operation(
                "log_in",
                "let this browser show a token, by a cookie",
                json_answer(
                    "whose it is", object_of(name=TEXT, scope={"enum": ["viewer", "operator", "admin"]})
                ),
                body=closed(token=TEXT),
            ),
            "delete": operation(
                "log_out", "forget that token", json_answer("it does", STATUS), body=closed()
            ),
        },
        "/api/v1/keys": {
            "get": operation("keys", "who has which keys", json_answer("keys", of_keys())),
            **{
                method: operation(
                    f"{verb}_key",
                    f"{verb} a key of the gossip, on all members",
                    json_answer("keys", of_keys()),
                    body={**closed(key=KEY, without=list_of(TEXT)), "required": ["key"]},
                )
                for method, verb in (("post", "install"), ("put", "use"), ("delete", "remove"))
            },
        },
    }
