"""The front door of a process that has none: no service of the fleet can be reached, the rest of the world can."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.agents.front_door import FleetAnswer, FrontDoorUnavailable, Outgoing
from app.agents.tools.front_door import HttpFrontDoor
from app.infra.openapi.calls import OperationCall
from app.kernel.identity import Principal


@dataclass(frozen=True, slots=True)
class NoFrontDoor:
    """Implements `FrontDoor`."""

    outside: HttpFrontDoor

    async def call(
        self,
        caller: Principal,
        method: str,
        path: str,
        *,
        json: object = None,
        form: Mapping[str, str | Sequence[str]] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        idempotency_key: str = "",
    ) -> FleetAnswer:
        """Errors: FrontDoorUnavailable."""
        del caller, method, path, json, form, query, idempotency_key
        raise FrontDoorUnavailable("There is no gateway here, and so no service behind it.")

    async def call_outside(self, caller: Principal, outgoing: Outgoing, *, idempotency_key: str = "") -> FleetAnswer:
        return await self.outside.call_outside(caller, outgoing, idempotency_key=idempotency_key)

    async def operations(self, caller: Principal) -> Sequence[OperationCall]:
        """Give none: agents are offered no tool that could not be used."""
        del caller
        return ()
