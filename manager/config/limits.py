"""The limits in `cluster-manager.yml`, and one limit as it is set over HTTP."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from manager.limits.sharing import Algorithm, Sharing, check_limits
from node.protocol import Limit, Limits
from node.settings import Duration, Settings, explain, format_duration

RATE_MIN, RATE_MAX = 1e-9, 1e12


class Unfit(ValueError):
    """Each value can be, and both together cannot."""


def as_rate(rate: float) -> float:
    if not RATE_MIN <= rate < RATE_MAX:
        raise ValueError(f"must be a number above 0 and below {RATE_MAX:g}, not `{rate:g}`")
    return rate


class RateSettings(Settings):
    """A rate: requests in a window."""

    max_rate: Annotated[
        float, AfterValidator(as_rate), Field(description="requests that pass in each `every`")
    ]
    every: Annotated[Duration, Field(ge=0.001, lt=1e9, description="the window")] = 1.0
    per_client: Annotated[bool, Field(description="of each client's own")] = False


class LimitSettings(RateSettings):
    """One cluster-wide limit."""

    algorithm: Annotated[Algorithm, Field(description="how it is divided over the nodes")] = "equal"
    lease: Annotated[Duration, Field(ge=0.5, lt=1e9, description="a share is renewed before it ends")] = (
        Sharing().lease
    )
    reuse_last: Annotated[
        Duration, Field(ge=0, lt=1e9, description="… and how much longer it may be used if nobody renews it")
    ] = Sharing().reuse_last
    safe: Annotated[
        Annotated[float, AfterValidator(as_rate)] | None,
        Field(description="then this is a node's max_rate; unset: a seat's part"),
    ] = None

    @field_validator("safe")
    @classmethod
    def _is_a_part(cls, safe: float | None, info: ValidationInfo) -> float | None:
        most = info.data.get("max_rate")
        if safe is not None and most is not None and safe > most:
            raise Unfit(
                f"must be at most the `max_rate` of all nodes together ({most:g}), not `{safe:g}`: it is "
                "what one node may pass without a manager. Give less, or none"
            )
        return safe


_DURATIONS = ("every", "lease", "reuse_last")
"""Seconds over HTTP."""


def fitting(limits: dict[str, LimitSettings]) -> dict[str, LimitSettings]:
    check_limits(limits_of(limits), sharing_of(limits))
    return limits


def free_fitting(limits: dict[str, RateSettings]) -> dict[str, RateSettings]:
    check_limits(limits_of(limits), {})
    return limits


def read_limit(values: Mapping[str, object]) -> tuple[Limit, Sharing]:
    """What the keys of one limit say. Raises `ValueError`, which names the key; `Unfit` for two of them."""
    try:
        settings = LimitSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key, value = next(iter(first["loc"]), ""), first["input"]
        if key in _DURATIONS and isinstance(value, int | float):
            if first["type"] == "value_error":
                raise ValueError(f"`{key}` must be a number of seconds, not `{value:g}`") from None
            first["input"] = format_duration(value)
        unfit = isinstance(first.get("ctx", {}).get("error"), Unfit)
        raise (Unfit if unfit else ValueError)(explain(first, LimitSettings)) from None
    return limits_of({"": settings})[""], sharing_of({"": settings})[""]


def limits_of(settings: Mapping[str, RateSettings]) -> Limits:
    return {name: Limit(limit.max_rate, limit.every, limit.per_client) for name, limit in settings.items()}


def sharing_of(settings: Mapping[str, LimitSettings]) -> dict[str, Sharing]:
    return {
        name: Sharing(limit.algorithm, limit.lease, limit.reuse_last, limit.safe)
        for name, limit in settings.items()
    }
