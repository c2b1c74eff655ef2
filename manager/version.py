"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Of the installed distribution."""
    try:
        return version("krakend-cluster-manager")
    except PackageNotFoundError:
        return "unknown"
