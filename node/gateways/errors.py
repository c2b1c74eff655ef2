"""The one error of this package."""


class GatewayError(Exception):
    """The gateway did not take what it was given; its text says why, what runs goes on as before."""
