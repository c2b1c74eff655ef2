"""The shapes of what the API takes and answers, for its OpenAPI document."""

from manager.latency import QUANTILES
from manager.limits.sharing import ALGORITHMS
from manager.rollout.orders import Action
from manager.subscription.standing import Stage
from manager.traffic import BYS
from manager.web.schema import (
    NUMBER,
    TEXT,
    TIME,
    WHOLE,
    YES_NO,
    Schema,
    closed,
    list_of,
    map_of,
    object_of,
    or_null,
)

STATES = ["active", "unreachable", "down", "removed", "refused"]
MEMBER_STATES = ["alive", "suspect", "dead", "left"]
MODE: Schema = {"enum": ["available", "conserve"]}
ACTIONS = [action.value for action in Action]
LIMITS = map_of(object_of(max_rate=NUMBER, every=NUMBER))
NODE = object_of(
    id=TEXT,
    name=TEXT,
    state={"enum": STATES},
    over_limit=YES_NO,
    since=TIME,
    why=TEXT,
    manager=TEXT,
    address=TEXT,
    seat=YES_NO,
    incarnation=WHOLE,
    gateway=TEXT,
    service={"enum": ["in service", "cordoned", "draining", "drained", "restarting"]},
    order=or_null(
        object_of(action={"enum": ACTIONS}, serial=WHOLE, writer=TEXT, by=TEXT, at=TIME, waits_for=TEXT)
    ),
    order_taken=object_of(serial=WHOLE, writer=TEXT, note=TEXT),
    token=TEXT,
    labels=map_of(TEXT),
    limits=LIMITS,
)
_LAPSE = {key: or_null(TIME) for key in ("away_since", "first_lapse", "last_lapse")}
SUBSCRIPTION = object_of(
    max_nodes=or_null(WHOLE),
    cap=or_null(WHOLE),
    used=WHOLE,
    free=or_null(WHOLE),
    over_limit=WHOLE,
    refused=WHOLE,
    source={"enum": ["none", "yaml", "set", "document"]},
    serial=WHOLE,
    policy={"enum": ["available", "strict"]},
    refusal=TEXT,
    pending=TEXT,
    overage=TEXT,
    expires=or_null(TIME),
    stage={"enum": [stage.value for stage in Stage]},
    why=TEXT,
    next=list_of(object_of(at=TIME, stage={"enum": [stage.value for stage in Stage]}, why=TEXT)),
    lapses=list_of(object_of(founder=TEXT, seats=WHOLE, **_LAPSE)),
)
ANSWERED = object_of(asked=WHOLE, answered=WHOLE)
STEP = object_of(at=NUMBER, nonce=WHOLE, counters=map_of(NUMBER))
EVENT = object_of(
    id=WHOLE,
    at=TIME,
    kind={"enum": ["node", "gateway", "member", "subscription", "manager"]},
    subject=TEXT,
    name=TEXT,
    before=TEXT,
    state=TEXT,
    why=TEXT,
    by=TEXT,
)
SEEN = object_of(state={"enum": MEMBER_STATES}, accusers=list_of(TEXT), round_trip=or_null(NUMBER), kind=TEXT)
STATUS = object_of(status=TEXT)
KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 100}


def of_ordered() -> Schema:
    return object_of(action={"enum": ACTIONS}, serial=WHOLE, writer=TEXT, node=NODE)


def of_info() -> Schema:
    return object_of(
        name=TEXT,
        group=TEXT,
        version=TEXT,
        address=TEXT,
        seed=or_null(TEXT),
        up_for=NUMBER,
        fresh=YES_NO,
        reconciled=YES_NO,
        managers=object_of(alive=WHOLE, known=WHOLE),
        nodes=object_of(connected=WHOLE, running=WHOLE),
        going=YES_NO,
    )


def of_member() -> Schema:
    return object_of(
        name=TEXT,
        state={"enum": MEMBER_STATES},
        since=TIME,
        address=TEXT,
        kind={"enum": ["manager", "foreign"]},
    )


def of_limits() -> Schema:
    one = object_of(
        max_rate=NUMBER,
        every=NUMBER,
        per_client=YES_NO,
        algorithm={"enum": list(ALGORITHMS)},
        lease=NUMBER,
        reuse_last=NUMBER,
        safe=or_null(NUMBER),
    )
    source: Schema = {"enum": ["none", "yaml", "set"]}
    return object_of(limits=map_of(one), share=LIMITS, nodes=WHOLE, mode=MODE, source=source, serial=WHOLE)


def of_limit_change() -> Schema:
    """Some of a limit's keys; each may be left out."""
    rate: Schema = {"type": "number", "minimum": 1e-9, "exclusiveMaximum": 1e12}
    change = closed(
        max_rate=rate,
        every={"type": "number", "minimum": 0.001, "exclusiveMaximum": 1e9},
        per_client=YES_NO,
        algorithm={"enum": list(ALGORITHMS)},
        lease={"type": "number", "minimum": 0.5, "exclusiveMaximum": 1e9},
        reuse_last={"type": "number", "minimum": 0, "exclusiveMaximum": 1e9},
        safe=or_null(rate),
    )
    return {**change, "required": ["max_rate"]}


def of_shares() -> Schema:
    manager = object_of(name=TEXT, alive=YES_NO, entitled=NUMBER, budget=NUMBER)
    share = or_null(object_of(max_rate=NUMBER, every=NUMBER))
    node = object_of(
        id=TEXT,
        name=TEXT,
        manager=TEXT,
        state={"enum": STATES},
        weight=NUMBER,
        share=share,
        entitled=or_null(NUMBER),
        in_force=or_null(NUMBER),
    )
    return object_of(
        limit=TEXT,
        per_second=NUMBER,
        algorithm={"enum": list(ALGORITHMS)},
        mode=MODE,
        split=YES_NO,
        managers=list_of(manager),
        nodes=list_of(node),
    )


def of_documents() -> Schema:
    document = object_of(
        serial=WHOLE,
        max_nodes=or_null(WHOLE),
        overage=TEXT,
        issued=TIME,
        not_before=TIME,
        expires=or_null(TIME),
        revoked=YES_NO,
    )
    day = object_of(date=TEXT, peak=WHOLE, p99=WHOLE, minutes=WHOLE, cap=or_null(WHOLE))
    return object_of(documents=list_of(document), days=list_of(day))


def of_keys() -> Schema:
    key = object_of(fingerprint=TEXT, in_use=list_of(TEXT), installed=list_of(TEXT))
    return object_of(keys=list_of(key), members=WHOLE, missing=list_of(object_of(name=TEXT, why=TEXT)))


def of_usage() -> Schema:
    counts = list_of(WHOLE)
    states = object_of(**dict.fromkeys(STATES, counts))
    return object_of(
        step=NUMBER,
        at=list_of(NUMBER),
        used=counts,
        cap=list_of(or_null(WHOLE)),
        over_limit=counts,
        states=states,
    )


def of_stats() -> Schema:
    return object_of(
        managers=ANSWERED, window=NUMBER, step=NUMBER, nodes=map_of(list_of(STEP)), next=or_null(TEXT)
    )


def of_traffic() -> Schema:
    row = object_of(
        at=NUMBER,
        requests=WHOLE,
        errors=WHOLE,
        seconds=NUMBER,
        buckets=list_of(WHOLE),
        **dict.fromkeys(QUANTILES, or_null(NUMBER)),
    )
    return object_of(
        managers=ANSWERED,
        by={"enum": list(BYS)},
        window=NUMBER,
        step=NUMBER,
        **{"from": NUMBER},
        to=NUMBER,
        traffic=map_of(list_of(row)),
        next=or_null(TEXT),
    )


def of_totals() -> Schema:
    return object_of(managers=ANSWERED, step=NUMBER, at=list_of(NUMBER), counters=map_of(list_of(NUMBER)))


def of_group() -> Schema:
    view = object_of(health=WHOLE, page=WHOLE, copies=map_of(WHOLE), sees=map_of(SEEN))
    return object_of(managers=ANSWERED, views=map_of(view))


def of_joined() -> Schema:
    return object_of(
        reached=list_of(TEXT), tried=list_of(object_of(address=TEXT, members=list_of(TEXT), why=TEXT))
    )


def of_reachability() -> Schema:
    member = object_of(
        name=TEXT,
        address=TEXT,
        state={"enum": MEMBER_STATES},
        udp=or_null(NUMBER),
        tcp=or_null(NUMBER),
        why=TEXT,
    )
    view = object_of(members=list_of(member), left_out=WHOLE)
    finding = object_of(check=TEXT, what=TEXT)
    return object_of(managers=ANSWERED, views=map_of(view), silent=list_of(TEXT), findings=list_of(finding))


def of_check() -> Schema:
    return object_of(check=TEXT, verdict={"enum": ["good", "odd", "bad"]}, what=TEXT)


def of_founders() -> Schema:
    founder = object_of(
        name=TEXT,
        state={"enum": ["unmet", "founding", "founded", "barred", "expelled"]},
        reachable=YES_NO,
        total=WHOLE,
        rights=WHOLE,
        seats=WHOLE,
        left=WHOLE,
        owes=YES_NO,
        heir_of=list_of(TEXT),
        why=TEXT,
        **_LAPSE,
    )
    return object_of(policy=TEXT, heir=or_null(TEXT), founders=list_of(founder))


def of_audit() -> Schema:
    change = object_of(at=TIME, manager=TEXT, who=TEXT, change=TEXT, status=WHOLE)
    return object_of(managers=ANSWERED, changes=list_of(change))


def of_targets() -> Schema:
    return list_of(object_of(targets=list_of(TEXT), labels=map_of(TEXT)))
