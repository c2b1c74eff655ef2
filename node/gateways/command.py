"""Any gateway that stays in the foreground: started and watched; limits go only into the `limits_file`."""

from node.gateways.adapter import Adapter, Applied
from node.protocol import Limits


class CommandGateway(Adapter):
    """Knows nothing of what it starts."""

    async def apply_limits(self, limits: Limits) -> Applied:
        return "live"

    async def _into_force(self) -> Applied:
        await self._supervisor.restart()
        return "restarted"
