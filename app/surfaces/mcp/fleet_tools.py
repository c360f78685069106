"""What the services behind the front door let the caller do, as tools: the same names as an agent's.

A call goes through the front door as the caller, with the caller's own token, so the edge decides about it once more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from app.agents.contract import ToolRefused
from app.agents.front_door import SAFE_METHODS, FrontDoor
from app.agents.tools.fleet import ask_for, check
from app.agents.tools.requests import IDEMPOTENT_METHODS
from app.infra.openapi.calls import OperationCall, calls_of
from app.infra.openapi.fleet import FleetDescription
from app.kernel.errors import Conflict, ValidationFailed
from app.kernel.identity import Access, Principal
from app.surfaces.mcp.tool import Asking, Members

KEPT_CATALOGUES = 16


class OperationRefused(Conflict):
    type = "operation-refused"
    title = "The service refused the call"


@dataclass(frozen=True, slots=True)
class FleetTool:
    operation: OperationCall
    front_door: FrontDoor

    def described(self) -> Members:
        method = self.operation.method
        return {
            "name": self.operation.name,
            "description": self.operation.description,
            "inputSchema": self.operation.schema,
            "annotations": {
                "readOnlyHint": method in SAFE_METHODS,
                "destructiveHint": method == "DELETE",
                "idempotentHint": method in IDEMPOTENT_METHODS,
                "openWorldHint": True,
            },
        }

    async def __call__(self, asking: Asking, arguments: Members) -> Members:
        """Errors: ValidationFailed, OperationRefused, FrontDoorUnavailable."""
        try:
            check(self.operation, arguments)
        except ValueError as error:
            raise ValidationFailed(str(error)) from error
        call = partial(self.front_door.call, asking.who)
        try:
            found = await asking.wait(ask_for(self.operation, call, arguments))
        except ToolRefused as refused:
            raise OperationRefused(str(refused)) from refused
        return found if isinstance(found, dict) else {"result": found}


@dataclass(slots=True)
class FleetTools:
    """Concurrency: for one event loop. The tools of each set of groups are made once for each description."""

    description: FleetDescription
    front_door: FrontDoor
    _made: OrderedDict[tuple[str, frozenset[Access]], Mapping[str, FleetTool]] = field(default_factory=OrderedDict)

    async def described(self, who: Principal) -> Sequence[Members]:
        return [tool.described() for tool in (await self._of(who)).values()]

    async def find(self, who: Principal, name: str) -> FleetTool | None:
        return (await self._of(who)).get(name)

    async def _of(self, who: Principal) -> Mapping[str, FleetTool]:
        joined = await self.description.current()
        key = (joined.etag, who.groups)
        if key not in self._made:
            calls = await asyncio.to_thread(calls_of, joined, who.groups)
            self._made[key] = {one.name: FleetTool(one, self.front_door) for one in calls}
            while len(self._made) > KEPT_CATALOGUES:
                self._made.popitem(last=False)
        return self._made[key]
