"""Durations as people write them: a number with its unit, `500ms` to `7d`."""

import re
from decimal import Decimal

_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """Seconds in `500ms`, `5s`, `10m`, `24h` or `7d`; raises ValueError saying what to write."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        number = re.fullmatch(r"[0-9.]+", text.strip())
        remedy = f"write `{text.strip()}s` for seconds" if number else "such as 500ms, 5s, 10m, 24h or 7d"
        raise ValueError(f"must be a duration with its unit, not `{text}`: {remedy}")
    return float(Decimal(match[1]) * _UNITS[match[2]])


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`: `10m` for 600."""
    exact = Decimal(repr(float(seconds)))
    for unit in ("d", "h", "m", "s", "ms"):
        number = exact / _UNITS[unit]
        if exact and number == number.to_integral_value():
            return f"{int(number)}{unit}"
    return f"{exact:f}s" if exact else "0s"
