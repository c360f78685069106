"""`ClientTool`: a tool that the client of whoever asked runs: a browser that knows where its user is.

    where = ClientTool(name="where_am_i", description="Tell where the user is.", parameters=Accuracy, timeout_s=60)

What lives here: what an author writes. How such a call waits is `asking.py`'s; where the client says what it came to is
`features/runs`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from app.agents.contract import Overrides, Risk, Tool, ToolContext, ToolRefused, Traits
from app.agents.tools.rest import Model
from app.kernel.values import Json

CLIENT_TIMEOUT_S = 300.0
LONGEST_TIMEOUT_S = 24 * 3600.0

type Check = Callable[[Mapping[str, Json]], Mapping[str, Any]]  # Any: as the schema says


class ClientTool(Tool):
    """Errors: ValueError at construction, for what could never be called.

    `parameters` is a type pydantic knows, a msgspec struct, or the JSON schema of an object; of a schema the names are
    checked, and what stands under them is the client's to judge. `timeout_s` is how long the turn waits for the client.
    What it does, it does before the eyes of who asked, who may say no there: so nobody is asked first, unless `risk` or
    a rule says so.
    """

    def __init__(
        self,
        *,
        name: str,
        description: str,
        parameters: type | Mapping[str, Any] | None = None,  # Any: a JSON schema
        timeout_s: float = CLIENT_TIMEOUT_S,
        risk: Risk = Risk.WRITES_INSIDE,
        overrides: Overrides | None = None,
    ) -> None:
        if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
            raise ValueError(f"{name}: timeout_s is a number of seconds, at most {LONGEST_TIMEOUT_S:g}")
        schema, check = _shape(name, parameters)
        unknown = sorted((overrides or {}).keys() - schema["properties"].keys())
        if unknown:
            raise ValueError(f"{name}: there is no argument {', '.join(unknown)} to override")
        super().__init__(
            name=name,
            description=description,
            parameters=schema,
            call=_not_here,
            traits=Traits(risk=risk, is_idempotent=True, timeout_s=timeout_s, overrides=overrides or {}),
            origin="client",
            check=check,
            is_the_clients=True,
        )


# Any: a JSON schema, and what a check of it gives
def _shape(name: str, parameters: type | Mapping[str, Any] | None) -> tuple[dict[str, Any], Check]:
    model = Model(parameters) if isinstance(parameters, type) else None
    given = parameters if model is None else model.schema
    schema = {"type": "object", "properties": {}, "additionalProperties": False, **(given or {})}  # type: ignore[dict-item]
    if schema["type"] != "object" or not isinstance(schema["properties"], Mapping):
        raise ValueError(f"{name}: the parameters of a tool are an object with properties")
    if model is None:
        return schema, partial(_named, schema)
    return schema, lambda said: model.written(_named(schema, said))


def _named(schema: Mapping[str, Any], said: Mapping[str, Json]) -> Mapping[str, Json]:
    """See that the arguments have the right names. Errors: ValueError."""
    known = schema["properties"].keys()
    unknown = sorted(said.keys() - known) if schema["additionalProperties"] is False else []
    missing = [name for name in schema.get("required", ()) if name not in said]
    if unknown or missing:
        flaws = [*(f"{name} is no argument" for name in unknown), *(f"{name} is missing" for name in missing)]
        raise ValueError("; ".join(flaws))
    return said


async def _not_here(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
    del ctx, arguments
    raise ToolRefused("Only a client that follows the conversation can do this.")
