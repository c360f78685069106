"""The services behind the front door as tools: each operation is one, called with the token and the roles of who asks.

    agent = Agent(name="office", ..., tools=[Fleet()])                    # whatever its user may do
    agent = Agent(name="clerk", ..., tools=[Fleet("agenda", "notes")])    # of these upstreams

What is offered is what the route table opens to the caller; what is called goes through the front door, which asks
again. Portico's own endpoints are no tools: an agent must not decide on its own approvals.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from app.agents.contract import Asked, Tool, ToolContext, Traits
from app.agents.front_door import FleetAnswer
from app.agents.tools.requests import IDEMPOTENT_METHODS, as_told, fields, filled, risk_of
from app.infra.openapi.calls import OperationCall
from app.kernel.values import Json


class CallFleet(Protocol):
    """How a request is sent through the front door, in whoever's name it is."""

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        form: Mapping[str, str | Sequence[str]] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
    ) -> FleetAnswer: ...


class Fleet:
    """A `ToolSource`: the operations of all upstreams, or of those that are named."""

    def __init__(self, *upstreams: str) -> None:
        self._upstreams = frozenset(upstreams)

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        operations = await asked.front_door.operations(asked.turn.caller)
        return [tool_of(one) for one in operations if not self._upstreams or one.upstream in self._upstreams]


def tool_of(operation: OperationCall) -> Tool:
    return Tool(
        name=operation.name,
        description=operation.description,
        parameters=operation.schema,
        call=partial(_call, operation),
        traits=Traits(risk=risk_of(operation.method), is_idempotent=operation.method in IDEMPOTENT_METHODS),
        origin=f"fleet:{operation.upstream}",
        check=partial(check, operation),
    )


async def _call(operation: OperationCall, ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
    return await ask_for(operation, ctx.call, arguments)


async def ask_for(operation: OperationCall, call: CallFleet, arguments: Mapping[str, Any]) -> object:
    """Call the operation with arguments that `check` took, and tell what came back. Errors: ToolRefused.

    Any: arguments are as the operation's schema says.
    """
    path = filled(operation.path, _placed(operation, arguments, "path"))
    query = fields(_placed(operation, arguments, "query"))
    body = _placed(operation, arguments, "body").get("body")
    if operation.media == "form":
        answer = await call(operation.method, path, form=fields(body or {}), query=query)
    else:
        answer = await call(operation.method, path, json=body, query=query)
    return as_told(answer)


def _placed(operation: OperationCall, arguments: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {
        argument.name: arguments[name]
        for name, argument in operation.arguments.items()
        if argument.place == place and name in arguments
    }


def check(operation: OperationCall, said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: as the schema says
    """See that the request can be made; whether the service takes it, it says itself."""
    unknown = sorted(said.keys() - operation.arguments.keys())
    missing = [name for name in operation.schema["required"] if name not in said]
    if unknown or missing:
        flaws = [*(f"{name} is no argument" for name in unknown), *(f"{name} is missing" for name in missing)]
        raise ValueError("; ".join(flaws))
    filled(operation.path, _placed(operation, said, "path"))
    fields(_placed(operation, said, "query"))
    body = said.get("body")
    if operation.media == "form" and body is not None:
        if not isinstance(body, Mapping):
            raise ValueError("body: give an object")
        fields(body)
    return said
