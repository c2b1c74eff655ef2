"""What the OpenAPI document is built of: JSON Schema, and operations."""

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
YES_NO: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
FLAG: Schema = {"enum": ["0", "1"]}


def or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def closed(**fields: Schema) -> Schema:
    """What we take has no other fields."""
    return {**object_of(**fields), "additionalProperties": False}


def list_of(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def map_of(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def object_of(**fields: Schema) -> Schema:
    """Later versions may have more fields; these they have."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def answer(text: str, content: dict[str, Schema]) -> Schema:
    return {"description": text, "content": {kind: {"schema": schema} for kind, schema in content.items()}}


def json_answer(text: str, schema: Schema) -> Schema:
    return answer(text, {"application/json": schema})


def whole_between(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def query(**schemas: Schema) -> list[Schema]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]


def operation(
    name: str,
    text: str,
    answer: Schema,
    *,
    status: str = "200",
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Schema:
    found: Schema = {
        "operationId": name,
        "summary": text,
        "responses": {status: answer, "304": {"description": "as it was"}, "default": _PROBLEM_ANSWER},
    }
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        del found["responses"]["304"]
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


_PROBLEM_ANSWER = answer(
    "what is wrong, and what to do (RFC 9457)",
    {"application/problem+json": object_of(type=TEXT, title=TEXT, status=WHOLE, detail=TEXT)},
)
