"""Which version this is."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str:
    """Of the installed distribution."""
    try:
        return version("krakend-cluster-manager")
    except PackageNotFoundError:
        return "unknown"
