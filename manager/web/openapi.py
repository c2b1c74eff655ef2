"""What the API is, as OpenAPI 3.1: for programs, and for the tests, which hold the handlers to it."""

from functools import cache
from typing import Any, TypeAlias

from manager.bundles import VALID_DAYS_MAX
from manager.documents import MAX_NODES_MAX
from manager.latency import QUANTILES
from manager.limits import ALGORITHMS
from manager.orders import Action
from manager.plan import KINDS, P95_MARGIN_MAX, PAUSE_MAX, UNAVAILABLE_MAX, WAVES_PATTERN, Phase
from manager.subscription import Stage
from manager.traffic import BYS
from manager.version import installed_version

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_YES_NO: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_STATES = ["active", "unreachable", "down", "removed", "refused"]
_MEMBER_STATES = ["alive", "suspect", "dead", "left"]


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _closed(**fields: Schema) -> Schema:
    """What we take has no other fields."""
    return {**_object(**fields), "additionalProperties": False}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _object(**fields: Schema) -> Schema:
    """Later versions may have more fields; these they have."""
    return {"type": "object", "properties": fields, "required": list(fields)}


_ACTIONS = [action.value for action in Action]
_LIMITS = _map(_object(max_rate=_NUMBER, every=_NUMBER))
_NODE = _object(
    id=_TEXT,
    name=_TEXT,
    state={"enum": _STATES},
    over_limit=_YES_NO,
    since=_TIME,
    why=_TEXT,
    manager=_TEXT,
    address=_TEXT,
    seat=_YES_NO,
    incarnation=_WHOLE,
    gateway=_TEXT,
    service={"enum": ["in service", "cordoned", "draining", "drained", "restarting"]},
    order=_or_null(
        _object(action={"enum": _ACTIONS}, serial=_WHOLE, writer=_TEXT, by=_TEXT, at=_TIME, waits_for=_TEXT)
    ),
    order_taken=_object(serial=_WHOLE, writer=_TEXT, note=_TEXT),
    token=_TEXT,
    labels=_map(_TEXT),
    limits=_LIMITS,
)
_LAPSE = {key: _or_null(_TIME) for key in ("away_since", "first_lapse", "last_lapse")}
_SUBSCRIPTION = _object(
    max_nodes=_or_null(_WHOLE),
    cap=_or_null(_WHOLE),
    used=_WHOLE,
    free=_or_null(_WHOLE),
    over_limit=_WHOLE,
    refused=_WHOLE,
    source={"enum": ["none", "yaml", "set", "document"]},
    serial=_WHOLE,
    policy={"enum": ["available", "strict"]},
    refusal=_TEXT,
    overage=_TEXT,
    expires=_or_null(_TIME),
    stage={"enum": [stage.value for stage in Stage]},
    why=_TEXT,
    next=_list(_object(at=_TIME, stage={"enum": [stage.value for stage in Stage]}, why=_TEXT)),
    lapses=_list(_object(founder=_TEXT, seats=_WHOLE, **_LAPSE)),
)
_ANSWERED = _object(asked=_WHOLE, answered=_WHOLE)
_STEP = _object(at=_NUMBER, nonce=_WHOLE, counters=_map(_NUMBER))
_EVENT = _object(
    id=_WHOLE,
    at=_TIME,
    kind={"enum": ["node", "gateway", "member", "subscription", "manager"]},
    subject=_TEXT,
    name=_TEXT,
    before=_TEXT,
    state=_TEXT,
    why=_TEXT,
    by=_TEXT,
)
_SEEN = _object(
    state={"enum": _MEMBER_STATES}, accusers=_list(_TEXT), round_trip=_or_null(_NUMBER), kind=_TEXT
)
_STATUS = _object(status=_TEXT)
_KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 100}


def _answer(text: str, content: dict[str, Schema]) -> Schema:
    return {"description": text, "content": {kind: {"schema": schema} for kind, schema in content.items()}}


def _json(text: str, schema: Schema) -> Schema:
    return _answer(text, {"application/json": schema})


def _whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _query(**schemas: Schema) -> list[Schema]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]


def _operation(
    name: str,
    text: str,
    answer: Schema,
    *,
    status: str = "200",
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Schema:
    operation: Schema = {
        "operationId": name,
        "summary": text,
        "responses": {status: answer, "304": {"description": "as it was"}, "default": _PROBLEM_ANSWER},
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        del operation["responses"]["304"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


_PROBLEM_ANSWER = _answer(
    "what is wrong, and what to do (RFC 9457)",
    {"application/problem+json": _object(type=_TEXT, title=_TEXT, status=_WHOLE, detail=_TEXT)},
)
_MODE: Schema = {"enum": ["available", "conserve"]}
_LIMIT_NAME: list[Schema] = [
    {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {**_TEXT, "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,99}$"},
    }
]
_LOCAL: Schema = {"enum": ["0", "1"]}
_COUNT = _whole(1, 1_000)
_AT: Schema = {"type": "number", "minimum": 0, "maximum": 1e12}
_ID: Schema = {"name": "id", "in": "path", "required": True, "schema": _TEXT}
_PORT = _query(port=_whole(1, 65535))
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
    get = _operation
    paths: dict[str, dict[str, Schema]] = {
        "/health": {"get": get("health", "the process lives", _json("it does", _STATUS))},
        "/ready": {"get": get("ready", "nodes may be sent here", _json("they may", _STATUS))},
        "/metrics": {"get": get("metrics", "for Prometheus", _answer("metrics", {"text/plain": _TEXT}))},
        "/api/v1/openapi.json": {
            "get": get("openapi", "this document", _json("the document", {"type": "object"}))
        },
        "/api/v1/info": {"get": get("info", "this manager, in short", _json("this manager", _info()))},
        "/api/v1/members": {
            "get": get("members", "the gossip group", _json("by name", _object(members=_list(_member()))))
        },
        "/api/v1/nodes": {
            "get": get(
                "nodes",
                "the gateway nodes, by id",
                _json(
                    "nodes; `next` is the cursor of the rest",
                    _object(nodes=_list(_NODE), next=_or_null(_TEXT)),
                ),
                parameters=_query(state={"enum": _STATES}, limit=_whole(1, 100_000), cursor=_TEXT),
            )
        },
        "/api/v1/nodes/{id}": {
            "get": get(
                "node",
                "one node",
                _json("the node", _NODE),
                parameters=[_ID],
            ),
            "delete": get(
                "forget_node",
                "an operator vouches that it runs nowhere: its seat is free; from this manager's host only",
                _json("it is forgotten", _object(status=_TEXT, id=_TEXT)),
                parameters=[_ID],
                body=_closed(),
            ),
        },
        **{
            f"/api/v1/nodes/{{id}}/{action}": {
                "post": get(
                    f"{action}_node",
                    text,
                    _json("it is ordered", _ordered()),
                    status="202",
                    parameters=[_ID],
                    body=_closed(),
                )
            }
            for action, text in _ORDERS.items()
        },
        "/api/v1/subscription": {
            "get": get("subscription", "the cap, and what is left of it", _json("the cap", _SUBSCRIPTION)),
            "patch": get(
                "set_subscription",
                "set the cap, on all managers",
                _json("the cap", _SUBSCRIPTION),
                body=_closed(max_nodes=_whole(0, MAX_NODES_MAX)),
            ),
        },
        "/api/v1/subscription/document": {
            "put": get(
                "install_subscription",
                "put a signed document into force, on all managers",
                _json("the cap", _SUBSCRIPTION),
                body=_closed(document=_TEXT),
            ),
        },
        "/api/v1/subscription/check": {
            "post": get(
                "check_subscription",
                "ask the issuer now",
                _json("it is asked", _STATUS),
                status="202",
                body=_closed(),
            ),
        },
        "/api/v1/subscription/history": {
            "get": get(
                "subscription_history", "documents, and seats by day", _json("newest first", _documents())
            )
        },
        "/api/v1/subscription/usage": {
            "get": get("usage", "seats and states over the window", _json("columns", _usage()))
        },
        "/api/v1/limits": {
            "get": get("limits", "the cluster's limits and each node's share", _json("limits", _limits()))
        },
        "/api/v1/limits/{name}": {
            "patch": get(
                "set_limit",
                "set a limit, or some of its keys, on all managers; from this manager's host only",
                _json("limits", _limits()),
                parameters=_LIMIT_NAME,
                body=_limit_change(),
            ),
            "delete": get(
                "remove_limit",
                "take a limit away, on all managers; from this manager's host only",
                _json("limits", _limits()),
                parameters=_LIMIT_NAME,
                body=_closed(),
            ),
        },
        "/api/v1/limits/{name}/shares": {
            "get": get(
                "shares",
                "who may use how much of a limit, per second",
                _json("managers and nodes", _shares()),
                parameters=_LIMIT_NAME,
            )
        },
        "/api/v1/stats": {
            "get": get(
                "stats",
                "what nodes reported, at all managers",
                _json(
                    "steps of each node; with `by`, what gateways answered; `next` is the cursor of the rest",
                    {"anyOf": [_stats(), _traffic()]},
                ),
                parameters=[
                    *_query(**{"from": _AT}),
                    *_query(
                        by={"enum": list(BYS)},
                        node=_TEXT,
                        limit=_whole(1, 100_000),
                        cursor=_TEXT,
                        local=_LOCAL,
                        to=_AT,
                        step={"type": "number", "minimum": 1, "maximum": 1e6},
                    ),
                ],
            )
        },
        "/api/v1/stats/totals": {
            "get": get(
                "stats_totals",
                "by how much the counters of all nodes grew in each step",
                _json("columns", _totals()),
                parameters=_query(local=_LOCAL),
            )
        },
        "/api/v1/events": {
            "get": get(
                "events",
                "what happened, newest first; as a stream for whoever accepts text/event-stream",
                _answer(
                    "events; `next` is the cursor of earlier ones",
                    {
                        "application/json": _object(events=_list(_EVENT), next=_or_null(_WHOLE)),
                        "text/event-stream": _TEXT,
                    },
                ),
                parameters=_query(
                    cursor=_whole(0, _ID_MAX), limit=_COUNT, subject=_TEXT, after=_whole(0, _ID_MAX)
                ),
            )
        },
        "/api/v1/group": {
            "get": get(
                "group",
                "how the managers see each other",
                _json("views", _group()),
                parameters=_query(local=_LOCAL),
            )
        },
        "/api/v1/group/founders": {
            "get": get("founders", "over whom the seats are divided", _json("by name", _founders()))
        },
        "/api/v1/group/founders/expel": {
            "post": get(
                "expel_founder",
                "an operator vouches that it runs nowhere, for good; from this manager's host only",
                _json("the founders", _founders()),
                body=_closed(name=_TEXT),
            )
        },
        "/api/v1/force-leave": {
            "post": get(
                "force_leave",
                "a dead member is not expected back: it has left, for every member",
                _json("the members that are listed now", _object(members=_list(_member()))),
                body={**_closed(name=_TEXT, prune=_YES_NO), "required": ["name"]},
            )
        },
        "/api/v1/join": {
            "post": get(
                "join",
                "this manager meets whoever is at these addresses, once, and all whom they know",
                _json("each address, with the members that it told of, or why there are none", _joined()),
                body=_closed(
                    peers={
                        **_list({**_TEXT, "minLength": 1, "maxLength": 255}),
                        "minItems": 1,
                        "maxItems": 20,
                    }
                ),
            )
        },
        "/api/v1/checks": {
            "get": get(
                "checks",
                "what this manager finds at its own address, peers' names, key and certificate",
                _json("each check, with what to do", _object(checks=_list(_check()))),
            )
        },
        "/api/v1/reachability": {
            "get": get(
                "reachability",
                "every manager asks every member for an answer, by UDP and by TCP",
                _json("who answers whom after how many seconds, and what to do", _reachability()),
                parameters=_query(local=_LOCAL),
            )
        },
        "/api/v1/audit": {
            "get": get(
                "audit",
                "changes that were made over HTTP, newest first",
                _json("changes", _audit()),
                parameters=_query(local=_LOCAL, limit=_COUNT),
            )
        },
        "/api/v1/sd/prometheus": {
            "get": get(
                "sd_prometheus", "targets for http_sd_configs", _json("targets", _targets()), parameters=_PORT
            )
        },
        "/api/v1/sd/haproxy": {
            "get": get(
                "sd_haproxy",
                "servers of a backend",
                _answer("lines", {"text/plain": _TEXT}),
                parameters=_PORT,
            )
        },
        "/api/v1/sd/nginx": {
            "get": get(
                "sd_nginx",
                "servers of an upstream",
                _answer("lines", {"text/plain": _TEXT}),
                parameters=_PORT,
            )
        },
        "/api/v1/session": {
            "post": get(
                "log_in",
                "let this browser show a token, by a cookie",
                _json("whose it is", _object(name=_TEXT, scope={"enum": ["viewer", "operator", "admin"]})),
                body=_closed(token=_TEXT),
            ),
            "delete": get("log_out", "forget that token", _json("it does", _STATUS), body=_closed()),
        },
        "/api/v1/keys": {
            "get": get("keys", "who has which keys", _json("keys", _keys())),
            **{
                method: get(
                    f"{verb}_key",
                    f"{verb} a key of the gossip, on all members",
                    _json("keys", _keys()),
                    body={**_closed(key=_KEY, without=_list(_TEXT)), "required": ["key"]},
                )
                for method, verb in (("post", "install"), ("put", "use"), ("delete", "remove"))
            },
        },
        "/api/v1/snapshot": {
            "post": get(
                "snapshot",
                "this manager's state as a file",
                _answer("an SQLite file", {"application/octet-stream": _TEXT}),
                body=_closed(),
            )
        },
        "/api/v1/leave": {
            "post": get(
                "leave",
                "end this manager, once its nodes have moved",
                _json("it leaves", _object(status=_TEXT, for_good=_YES_NO)),
                status="202",
                body={**_closed(for_good=_YES_NO), "required": []},
            )
        },
    }
    paths |= _config_paths()
    info = {"title": "KrakenD cluster manager", "version": installed_version()}
    schemes = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"securitySchemes": schemes},
        "security": [{}, {"token": []}],
    }


def _ordered() -> Schema:
    return _object(action={"enum": _ACTIONS}, serial=_WHOLE, writer=_TEXT, node=_NODE)


def _info() -> Schema:
    return _object(
        name=_TEXT,
        group=_TEXT,
        version=_TEXT,
        address=_TEXT,
        seed=_or_null(_TEXT),
        up_for=_NUMBER,
        fresh=_YES_NO,
        reconciled=_YES_NO,
        managers=_object(alive=_WHOLE, known=_WHOLE),
        nodes=_object(connected=_WHOLE, running=_WHOLE),
        going=_YES_NO,
    )


def _member() -> Schema:
    return _object(
        name=_TEXT,
        state={"enum": _MEMBER_STATES},
        since=_TIME,
        address=_TEXT,
        kind={"enum": ["manager", "foreign"]},
    )


def _limits() -> Schema:
    one = _object(
        max_rate=_NUMBER,
        every=_NUMBER,
        per_client=_YES_NO,
        algorithm={"enum": list(ALGORITHMS)},
        lease=_NUMBER,
        reuse_last=_NUMBER,
        safe=_or_null(_NUMBER),
    )
    source: Schema = {"enum": ["none", "yaml", "set"]}
    return _object(limits=_map(one), share=_LIMITS, nodes=_WHOLE, mode=_MODE, source=source, serial=_WHOLE)


def _limit_change() -> Schema:
    """Some of a limit's keys; each may be left out."""
    rate: Schema = {"type": "number", "minimum": 1e-9, "exclusiveMaximum": 1e12}
    change = _closed(
        max_rate=rate,
        every={"type": "number", "minimum": 0.001, "exclusiveMaximum": 1e9},
        per_client=_YES_NO,
        algorithm={"enum": list(ALGORITHMS)},
        lease={"type": "number", "minimum": 0.5, "exclusiveMaximum": 1e9},
        reuse_last={"type": "number", "minimum": 0, "exclusiveMaximum": 1e9},
        safe=_or_null(rate),
    )
    return {**change, "required": ["max_rate"]}


def _shares() -> Schema:
    manager = _object(name=_TEXT, alive=_YES_NO, entitled=_NUMBER, budget=_NUMBER)
    share = _or_null(_object(max_rate=_NUMBER, every=_NUMBER))
    node = _object(
        id=_TEXT,
        name=_TEXT,
        manager=_TEXT,
        state={"enum": _STATES},
        weight=_NUMBER,
        share=share,
        entitled=_or_null(_NUMBER),
        in_force=_or_null(_NUMBER),
    )
    return _object(
        limit=_TEXT,
        per_second=_NUMBER,
        algorithm={"enum": list(ALGORITHMS)},
        mode=_MODE,
        split=_YES_NO,
        managers=_list(manager),
        nodes=_list(node),
    )


def _documents() -> Schema:
    document = _object(
        serial=_WHOLE,
        max_nodes=_or_null(_WHOLE),
        overage=_TEXT,
        issued=_TIME,
        not_before=_TIME,
        expires=_or_null(_TIME),
        revoked=_YES_NO,
    )
    day = _object(date=_TEXT, peak=_WHOLE, p99=_WHOLE, minutes=_WHOLE, cap=_or_null(_WHOLE))
    return _object(documents=_list(document), days=_list(day))


def _keys() -> Schema:
    key = _object(fingerprint=_TEXT, in_use=_list(_TEXT), installed=_list(_TEXT))
    return _object(keys=_list(key), members=_WHOLE, missing=_list(_object(name=_TEXT, why=_TEXT)))


def _usage() -> Schema:
    counts = _list(_WHOLE)
    states = _object(**dict.fromkeys(_STATES, counts))
    return _object(
        step=_NUMBER,
        at=_list(_NUMBER),
        used=counts,
        cap=_list(_or_null(_WHOLE)),
        over_limit=counts,
        states=states,
    )


def _stats() -> Schema:
    return _object(
        managers=_ANSWERED, window=_NUMBER, step=_NUMBER, nodes=_map(_list(_STEP)), next=_or_null(_TEXT)
    )


def _traffic() -> Schema:
    row = _object(
        at=_NUMBER,
        requests=_WHOLE,
        errors=_WHOLE,
        seconds=_NUMBER,
        buckets=_list(_WHOLE),
        **dict.fromkeys(QUANTILES, _or_null(_NUMBER)),
    )
    return _object(
        managers=_ANSWERED,
        by={"enum": list(BYS)},
        window=_NUMBER,
        step=_NUMBER,
        **{"from": _NUMBER},
        to=_NUMBER,
        traffic=_map(_list(row)),
        next=_or_null(_TEXT),
    )


def _totals() -> Schema:
    return _object(managers=_ANSWERED, step=_NUMBER, at=_list(_NUMBER), counters=_map(_list(_NUMBER)))


def _group() -> Schema:
    view = _object(health=_WHOLE, page=_WHOLE, copies=_map(_WHOLE), sees=_map(_SEEN))
    return _object(managers=_ANSWERED, views=_map(view))


def _joined() -> Schema:
    return _object(reached=_list(_TEXT), tried=_list(_object(address=_TEXT, members=_list(_TEXT), why=_TEXT)))


def _reachability() -> Schema:
    member = _object(
        name=_TEXT,
        address=_TEXT,
        state={"enum": _MEMBER_STATES},
        udp=_or_null(_NUMBER),
        tcp=_or_null(_NUMBER),
        why=_TEXT,
    )
    view = _object(members=_list(member), left_out=_WHOLE)
    finding = _object(check=_TEXT, what=_TEXT)
    return _object(managers=_ANSWERED, views=_map(view), silent=_list(_TEXT), findings=_list(finding))


def _check() -> Schema:
    return _object(check=_TEXT, verdict={"enum": ["good", "odd", "bad"]}, what=_TEXT)


def _founders() -> Schema:
    founder = _object(
        name=_TEXT,
        state={"enum": ["unmet", "founding", "founded", "barred", "expelled"]},
        reachable=_YES_NO,
        total=_WHOLE,
        rights=_WHOLE,
        seats=_WHOLE,
        left=_WHOLE,
        owes=_YES_NO,
        heir_of=_list(_TEXT),
        why=_TEXT,
        **_LAPSE,
    )
    return _object(policy=_TEXT, heir=_or_null(_TEXT), founders=_list(founder))


def _audit() -> Schema:
    change = _object(at=_TIME, manager=_TEXT, who=_TEXT, change=_TEXT, status=_WHOLE)
    return _object(managers=_ANSWERED, changes=_list(change))


def _targets() -> Schema:
    return _list(_object(targets=_list(_TEXT), labels=_map(_TEXT)))


_ANSWERS = _object(requests=_NUMBER, error_rate=_NUMBER, p95=_or_null(_NUMBER))
_TIMES: Schema = {"type": "number", "minimum": 0, "maximum": P95_MARGIN_MAX}
_PART: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_PLAN = _object(
    kind={"enum": list(KINDS)},
    version=_WHOLE,
    base=_WHOLE,
    sha256=_TEXT,
    phase={"enum": [phase.value for phase in Phase]},
    why=_TEXT,
    waits_for=_TEXT,
    conductor=_TEXT,
    serial=_WHOLE,
    waves=_list(_TEXT),
    wave=_WHOLE,
    max_unavailable=_WHOLE,
    pause=_NUMBER,
    error_margin=_NUMBER,
    p95_margin=_NUMBER,
    answered=_object(new=_ANSWERS, rest=_ANSWERS),
    heal=_YES_NO,
    done=_WHOLE,
    total=_WHOLE,
    drifted=_list(_TEXT),
)


_WAVES: Schema = {"type": "string", "pattern": WAVES_PATTERN, "maxLength": 200}
_PAUSE: Schema = {"type": "number", "minimum": 0, "maximum": PAUSE_MAX}


def _config_paths() -> dict[str, dict[str, Schema]]:
    """Configurations and rollouts."""
    get = _operation
    version = _object(
        version=_WHOLE, sha256=_TEXT, size=_WHOLE, at=_TIME, by=_TEXT, wanted=_YES_NO, here=_YES_NO
    )
    node = _object(
        id=_TEXT,
        name=_TEXT,
        running=_WHOLE,
        running_sha256=_TEXT,
        on_disk=_WHOLE,
        on_disk_sha256=_TEXT,
        wanted=_WHOLE,
        staged=_YES_NO,
        failed=_YES_NO,
        note=_TEXT,
        ready=_YES_NO,
        turn=_YES_NO,
        drifted=_YES_NO,
    )
    whole_plan = {"allOf": [_PLAN, _object(versions=_list(version), nodes=_list(node))]}
    kind = [{"name": "kind", "in": "path", "required": True, "schema": {"enum": list(KINDS)}}]
    bytes_: Schema = {"application/octet-stream": _TEXT}
    push = get(
        "push_config",
        "bring a configuration to all gateways of a kind, in waves; from this manager's host only",
        _json("the plan; of a dry run, whether a gateway would run with it", {"type": "object"}),
        parameters=[
            *kind,
            *_query(
                waves=_WAVES,
                max_unavailable=_whole(1, UNAVAILABLE_MAX),
                pause=_PAUSE,
                error_margin=_PART,
                p95_margin=_TIMES,
                heal=_LOCAL,
                force=_LOCAL,
                dry_run=_LOCAL,
            ),
        ],
    )
    push["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": _TEXT}}}
    del push["responses"]["304"]
    back = _closed(
        version=_whole(1, 2**31),
        waves=_WAVES,
        max_unavailable=_whole(1, UNAVAILABLE_MAX),
        pause=_PAUSE,
        error_margin=_PART,
        p95_margin=_TIMES,
        heal=_YES_NO,
    )
    check = get(
        "try_config",
        "what a gateway that is connected here says of a configuration; for the other managers",
        _json("it says", _object(valid=_YES_NO, node=_TEXT, error=_TEXT, manager=_TEXT)),
        parameters=kind,
    )
    check["requestBody"] = push["requestBody"]
    del check["responses"]["304"]
    return {
        "/api/v1/trials/{kind}": {"post": check},
        "/api/v1/config": {
            "get": get(
                "configs",
                "the configurations, by kind of gateway",
                _json("them", _object(configs=_list(_PLAN))),
            )
        },
        "/api/v1/config/{kind}": {
            "get": get(
                "config",
                "versions, rollout and nodes of a kind",
                _json("the plan", whole_plan),
                parameters=kind,
            ),
            "put": push,
        },
        "/api/v1/bundle": {
            "get": _operation(
                "bundle",
                "what a new node starts from while no manager answers, signed",
                _json("the signed bundle and the key", _object(bundle=_TEXT, key=_TEXT, expires=_TIME)),
                parameters=_query(kind={"enum": list(KINDS)}, days=_whole(1, VALID_DAYS_MAX)),
            )
        },
        "/api/v1/config/{kind}/versions/{version}": {
            "get": get(
                "config_version",
                "a configuration as it is",
                _answer("its bytes", bytes_),
                parameters=[
                    *kind,
                    {"name": "version", "in": "path", "required": True, "schema": _whole(1, 2**31)},
                ],
            )
        },
        "/api/v1/config/{kind}/rollback": {
            "post": get(
                "roll_back_config",
                "go back to a version, by default the one before; from this manager's host only",
                _json("the plan", whole_plan),
                parameters=kind,
                body={**back, "required": []},
            )
        },
        "/api/v1/rollouts": {
            "get": get("rollouts", "how far each rollout is", _json("them", _object(rollouts=_list(_PLAN))))
        },
        "/api/v1/rollouts/{kind}": {
            "post": get(
                "steer_rollout",
                "pause, resume, promote or abort a rollout; from this manager's host only",
                _json("the plan", whole_plan),
                parameters=kind,
                body=_closed(action={"enum": ["pause", "resume", "promote", "abort"]}),
            )
        },
        "/api/v1/contents/{sha256}": {
            "get": get(
                "content",
                "the configuration of this hash, for other managers",
                _answer("its bytes", bytes_),
                parameters=[{"name": "sha256", "in": "path", "required": True, "schema": _TEXT}],
            )
        },
    }
