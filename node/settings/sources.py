"""Option over variable over file over default; and the one line that says what is wrong."""

import difflib
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from node.durations import format_duration, parse_duration
from node.settings.document import Document, Place, Tree, read_document
from node.settings.errors import SettingsError
from node.settings.kinds import COMMAND, EMPTY_MEANS_OFF

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Model]):
    """Valid settings, and what the operator should hear all the same."""

    settings: Model
    warnings: tuple[str, ...]


def load(
    model: type[Model],
    *,
    prefix: str,
    file: Path | None = None,
    file_must_exist: bool = True,
    environ: Mapping[str, str],
    options: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
    not_keys: Collection[str] = (),
) -> Loaded[Model]:
    """What is in force, or `SettingsError`.

    A variable is `prefix` and the key's path in capitals, `KCM_LOG_FORMAT`; `renamed` maps a path to
    a variable of another name, `not_keys` are variables with our prefix that mean something else.
    `options` is what `options_given` returns. A variable that is nearly one of ours is a warning:
    others with our prefix may come from elsewhere (Kubernetes sets `KCM_PORT` for a service `kcm`).
    """
    document = Document()
    if file is not None and (file_must_exist or file.exists()):
        document = read_document(file)
    variables = _Variables(model, prefix, renamed or {})
    for path, name in variables.given(environ, document):
        _put(document, path, environ[name], f"variable {name}")
    for option, value in (options or {}).items():
        _put(document, tuple(option.split(".")), value, f"option --{option_name(option)}")
    try:
        settings = model.model_validate(document.data)
    except ValidationError as error:
        raise SettingsError(_first_line(error, model, document, file)) from None
    return Loaded(settings, tuple(variables.warnings(environ, not_keys)))


def option_name(path: str) -> str:
    """`log.format` is the option `--log-format`."""
    return path.replace(".", "-").replace("_", "-")


def keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every key that holds a value of its own, nested ones by their path; not the maps of named things."""
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        nested = nested_model(field)
        if nested is not None:
            yield from keys(nested, (*path, name))
        elif named_model(field) is None:
            yield (*path, name), field


def nested_model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field such as `log: LogSettings`, also where it may be None."""
    for kind in _alternatives(field.annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def named_model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of each value in a field such as `limits: dict[str, LimitSettings]`."""
    for kind in _alternatives(field.annotation):
        if get_origin(kind) is dict:
            value = get_args(kind)[1]
            if isinstance(value, type) and issubclass(value, BaseModel):
                return value
    return None


def is_list(field: FieldInfo) -> bool:
    """Whether several texts joined by commas are this field's value."""
    return COMMAND not in field.metadata and any(
        get_origin(kind) in (tuple, list) for kind in _alternatives(field.annotation)
    )


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _put(document: Document, path: Place, value: str, where: str) -> None:
    """Lay `value` over what the document says; what is no map where one belongs stays, to be refused."""
    inside: Tree = document.data
    for part in path[:-1]:
        if not isinstance(inside, dict):
            return
        inside = inside.setdefault(str(part), {})
    if isinstance(inside, dict):
        inside[str(path[-1])] = value
        for covered in [place for place in document.places if place[: len(path)] == path]:
            del document.places[covered]
        document.places[path] = where


class _Variables:
    """The environment variables that a model has."""

    def __init__(self, model: type[BaseModel], prefix: str, renamed: Mapping[str, str]) -> None:
        self.prefix = prefix
        self.fields: dict[str, tuple[tuple[str, ...], FieldInfo]] = {}
        self.other_names: dict[str, str] = {}
        for path, field in keys(model):
            usual = prefix + "_".join(path).upper()
            name = renamed.get(".".join(path), usual)
            self.fields[name] = (path, field)
            if name != usual:
                self.other_names[usual] = name
        self.named = list(_named_maps(model))

    def given(self, environ: Mapping[str, str], document: Document) -> Iterator[tuple[Place, str]]:
        """(path, variable) of each that is set; an empty one is not, except where empty means off."""
        for name, (path, field) in self.fields.items():
            if name in environ and (environ[name] or EMPTY_MEANS_OFF in field.metadata):
                yield path, name
        for name in sorted(environ):
            inside = self._inside_named_map(name, document)
            if inside is not None and environ[name] and name not in self.fields:
                yield inside, name

    def _inside_named_map(self, variable: str, document: Document) -> tuple[str, ...] | None:
        """`KCM_LIMITS_PUBLIC_MAX_RATE` is `limits.public.max_rate`, in the file's spelling."""
        for path, model in self.named:
            begin = self.prefix + "_".join(path).upper() + "_"
            for inner, _ in keys(model):
                end = "_" + "_".join(inner).upper()
                middle = variable.removeprefix(begin).removesuffix(end)
                if variable == begin + middle + end and middle:
                    return (*path, _name_like(middle, document, path), *inner)
        return None

    def warnings(self, environ: Mapping[str, str], not_keys: Collection[str]) -> Iterator[str]:
        for name in sorted(environ):
            if name in self.fields or name in not_keys or not name.startswith(self.prefix):
                continue
            if self._inside_named_map(name, Document()) is not None:
                continue
            near = difflib.get_close_matches(name, self.fields, n=1, cutoff=0.85)
            meant = self.other_names.get(name) or next(iter(near), None)
            if meant:
                yield f"variable {name} is none of ours: did you mean {meant}?"


def _named_maps(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    for name, field in model.model_fields.items():
        nested, named = nested_model(field), named_model(field)
        if nested is not None:
            yield from _named_maps(nested, (*path, name))
        elif named is not None:
            yield (*path, name), named


def _name_like(capitals: str, document: Document, path: tuple[str, ...]) -> str:
    inside: Tree = document.data
    for part in path:
        inside = inside.get(part, {}) if isinstance(inside, dict) else {}
    for name in inside if isinstance(inside, dict) else ():
        if name.upper().replace("-", "_") == capitals:
            return name
    return capitals.lower()


def _first_line(error: ValidationError, model: type[BaseModel], document: Document, file: Path | None) -> str:
    order = {path: index for index, path in enumerate(document.places)}
    details = min(error.errors(), key=lambda d: order.get(d["loc"], len(order)))
    where = next(
        (document.places[details["loc"][:n]] for n in range(len(details["loc"]), 0, -1)
         if details["loc"][:n] in document.places),
        str(file) if file is not None and document.places else "",
    )  # fmt: skip
    what = explain(details, model)
    return f"{where}: {what}" if where else what


def explain(details: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong with a value of `model`: the key, what it must be, and what it was."""
    location = details["loc"]
    key = ".".join(part for part in location if isinstance(part, str))
    if details["type"] == "extra_forbidden":
        return f"`{key}` is not a key{_remedy(location, model)}"
    context = details.get("ctx", {})
    match details["type"]:
        case "missing":
            problem = "is missing"
        case "value_error":
            problem = str(context["error"])
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            problem = f"must be a whole number, not {_shown(details['input'])}"
        case "float_type" | "float_parsing" | "finite_number":
            problem = f"must be a number, not {_shown(details['input'])}"
        case "bool_type" | "bool_parsing":
            problem = f"must be true or false, not {_shown(details['input'])}"
        case "string_type":
            problem = f"must be text, not {_shown(details['input'])}"
        case "tuple_type" | "list_type":
            problem = f"must be a list, not {_shown(details['input'])}"
        case "dict_type" | "model_type" | "model_attributes_type":
            problem = f"must be a map (`key: value`), not {_shown(details['input'])}"
        case "literal_error" | "enum":
            problem = f"must be {context['expected']}, not {_shown(details['input'])}"
        case "greater_than_equal":
            problem = f"must be at least {_bound(context['ge'], details)}, not {_shown(details['input'])}"
        case "less_than_equal":
            problem = f"must be at most {_bound(context['le'], details)}, not {_shown(details['input'])}"
        case "greater_than":
            problem = f"must be more than {_bound(context['gt'], details)}, not {_shown(details['input'])}"
        case "less_than":
            problem = f"must be less than {_bound(context['lt'], details)}, not {_shown(details['input'])}"
        case _:
            problem = details["msg"][0].lower() + details["msg"][1:]
    return f"`{key}` {problem}" if key else problem


def _bound(bound: object, details: ErrorDetails) -> str:
    """`bound` as it is typed: with its unit where what was typed is a duration."""
    try:
        parse_duration(str(details["input"]))
    except ValueError:
        return str(bound)
    return format_duration(float(str(bound)))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    return f"`{text if len(text) <= 60 else text[:60] + '…'}`"


def _remedy(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """What to write instead of an unknown key: the nearest known one beside it, or all of them."""
    known: list[str] = list(model.model_fields)
    here: type[BaseModel] | None = model
    named = False
    for part in location[:-1]:
        if named:
            named = False
        elif here is not None and isinstance(part, str):
            field = here.model_fields[part]
            named = named_model(field) is not None
            here = nested_model(field) or named_model(field)
        known = list(here.model_fields) if here is not None else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
    if near:
        return f": did you mean `{near[0]}`?"
    return f": known here are {', '.join(known)}"
