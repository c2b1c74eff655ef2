"""No gateway: somebody else starts and stops it, this agent only counts as its node."""

from node.gateways.adapter import Adapter, Applied
from node.protocol import Limits


class NoGateway(Adapter):
    """Limits go only into the `limits_file`."""

    async def apply_limits(self, limits: Limits) -> Applied:
        return "live"
