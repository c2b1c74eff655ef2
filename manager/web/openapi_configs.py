"""The part of the document that is about gateway configurations and rollouts."""

from manager.cli.bundles import VALID_DAYS_MAX
from manager.rollout.plan import KINDS, P95_MARGIN_MAX, PAUSE_MAX, UNAVAILABLE_MAX, WAVES_PATTERN, Phase
from manager.web.schema import (
    FLAG,
    NUMBER,
    TEXT,
    TIME,
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

_ANSWERS = object_of(requests=NUMBER, error_rate=NUMBER, p95=or_null(NUMBER))
_TIMES: Schema = {"type": "number", "minimum": 0, "maximum": P95_MARGIN_MAX}
_PART: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_PLAN = object_of(
    kind={"enum": list(KINDS)},
    version=WHOLE,
    base=WHOLE,
    sha256=TEXT,
    phase={"enum": [phase.value for phase in Phase]},
    why=TEXT,
    waits_for=TEXT,
    conductor=TEXT,
    conductor_gone=YES_NO,
    serial=WHOLE,
    waves=list_of(TEXT),
    wave=WHOLE,
    max_unavailable=WHOLE,
    pause=NUMBER,
    error_margin=NUMBER,
    p95_margin=NUMBER,
    answered=object_of(new=_ANSWERS, rest=_ANSWERS),
    heal=YES_NO,
    done=WHOLE,
    total=WHOLE,
    drifted=list_of(TEXT),
)


_WAVES: Schema = {"type": "string", "pattern": WAVES_PATTERN, "maxLength": 200}
_PAUSE: Schema = {"type": "number", "minimum": 0, "maximum": PAUSE_MAX}
_MANNER: dict[str, Schema] = {
    "waves": _WAVES,
    "max_unavailable": whole_between(1, UNAVAILABLE_MAX),
    "pause": _PAUSE,
    "error_margin": _PART,
    "p95_margin": _TIMES,
}
"""How a rollout goes."""
_VERSION = object_of(version=WHOLE, sha256=TEXT, size=WHOLE, at=TIME, by=TEXT, wanted=YES_NO, here=YES_NO)
_NODE = object_of(
    id=TEXT,
    name=TEXT,
    running=WHOLE,
    running_sha256=TEXT,
    on_disk=WHOLE,
    on_disk_sha256=TEXT,
    wanted=WHOLE,
    staged=YES_NO,
    failed=YES_NO,
    note=TEXT,
    ready=YES_NO,
    turn=YES_NO,
    drifted=YES_NO,
)
_WHOLE_PLAN: Schema = {"allOf": [_PLAN, object_of(versions=list_of(_VERSION), nodes=list_of(_NODE))]}
_KIND: list[Schema] = [{"name": "kind", "in": "path", "required": True, "schema": {"enum": list(KINDS)}}]
_NUMBER: Schema = {"name": "version", "in": "path", "required": True, "schema": whole_between(1, 2**31)}
_BYTES: Schema = {"application/octet-stream": TEXT}
_CONTENT: Schema = {"required": True, "content": {"application/octet-stream": {"schema": TEXT}}}


def paths() -> dict[str, dict[str, Schema]]:
    """Configurations and rollouts."""
    return _configs() | _rollouts() | _contents()


def _with_content(operation: Schema) -> Schema:
    """It takes a configuration as it is, and changes something or asks anew, so that none is cached."""
    operation["requestBody"] = _CONTENT
    del operation["responses"]["304"]
    return operation


def _configs() -> dict[str, dict[str, Schema]]:
    push = operation(
        "push_config",
        "bring a configuration to all gateways of a kind, in waves; from this manager's host only",
        json_answer("the plan; of a dry run, whether a gateway would run with it", {"type": "object"}),
        parameters=[*_KIND, *query(**_MANNER, heal=FLAG, force=FLAG, dry_run=FLAG)],
    )
    return {
        "/api/v1/config": {
            "get": operation(
                "configs",
                "the configurations, by kind of gateway",
                json_answer("them", object_of(configs=list_of(_PLAN))),
            )
        },
        "/api/v1/config/{kind}": {
            "get": operation(
                "config",
                "versions, rollout and nodes of a kind",
                json_answer("the plan", _WHOLE_PLAN),
                parameters=_KIND,
            ),
            "put": _with_content(push),
        },
        "/api/v1/config/{kind}/versions/{version}": {
            "get": operation(
                "config_version",
                "a configuration as it is",
                answer("its bytes", _BYTES),
                parameters=[*_KIND, _NUMBER],
            )
        },
        "/api/v1/config/{kind}/rollback": {
            "post": operation(
                "roll_back_config",
                "go back to a version, by default the one before; from this manager's host only",
                json_answer("the plan", _WHOLE_PLAN),
                parameters=_KIND,
                body={**closed(version=whole_between(1, 2**31), **_MANNER, heal=YES_NO), "required": []},
            )
        },
    }


def _rollouts() -> dict[str, dict[str, Schema]]:
    return {
        "/api/v1/rollouts": {
            "get": operation(
                "rollouts", "how far each rollout is", json_answer("them", object_of(rollouts=list_of(_PLAN)))
            )
        },
        "/api/v1/rollouts/{kind}": {
            "post": operation(
                "steer_rollout",
                "pause, resume, promote or abort a rollout; from this manager's host only",
                json_answer("the plan", _WHOLE_PLAN),
                parameters=_KIND,
                body=closed(action={"enum": ["pause", "resume", "promote", "abort"]}),
            )
        },
    }


def _contents() -> dict[str, dict[str, Schema]]:
    """What managers ask each other for, and what a node starts from."""
    return {
        "/api/v1/contents/{sha256}": {
            "get": operation(
                "content",
                "the configuration of this hash, for other managers",
                answer("its bytes", _BYTES),
                parameters=[{"name": "sha256", "in": "path", "required": True, "schema": TEXT}],
            )
        },
        "/api/v1/trials/{kind}": {
            "post": _with_content(
                operation(
                    "try_config",
                    "what a gateway that is connected here says of a configuration; for the other managers",
                    json_answer("it says", object_of(valid=YES_NO, node=TEXT, error=TEXT, manager=TEXT)),
                    parameters=_KIND,
                )
            )
        },
        "/api/v1/bundle": {
            "get": operation(
                "bundle",
                "what a new node starts from while no manager answers, signed",
                json_answer("the signed bundle and the key", object_of(bundle=TEXT, key=TEXT, expires=TIME)),
                parameters=query(kind={"enum": list(KINDS)}, days=whole_between(1, VALID_DAYS_MAX)),
            )
        },
    }
