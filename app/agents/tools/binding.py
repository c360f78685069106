"""Turns an author's function, `async def tool(ctx: ToolContext, ...)`, into a tool.

The signature without its first parameter becomes the JSON schema, the docstring the description: the model library
reads both. What happens when the tool is called, and when it fails, is `calling.py`'s.
"""

import functools
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, cast, get_type_hints

from pydantic.errors import PydanticUserError
from pydantic_ai import Tool as ModelTool
from pydantic_ai.exceptions import UserError

from app.agents.contract import AgentBroken, Tool, ToolFunction, traits_of
from app.agents.tools.calling import call_function
from app.kernel.values import Json


def bind(function: ToolFunction) -> Tool:
    """Errors: AgentBroken, when a type of the signature has no schema."""

    async def run(**arguments: object) -> object:
        raise NotImplementedError("only its signature is read")

    first, *others = inspect.signature(function).parameters.values()
    hints = {name: hint for name, hint in get_type_hints(function, include_extras=True).items() if name != "return"}
    functools.update_wrapper(run, function)
    run.__annotations__ = {name: hint for name, hint in hints.items() if name != first.name}
    run.__signature__ = inspect.Signature(others)  # type: ignore[attr-defined] # inspect reads it, typeshed does not
    try:
        read: ModelTool[None] = ModelTool(run, takes_ctx=False)
    except (UserError, PydanticUserError) as error:
        reason = str(error).splitlines()[0]
        raise AgentBroken(
            inspect.getfile(function), f"the tool {run.__name__} has a type without a schema: {reason}"
        ) from error
    validator = read.function_schema.validator

    def check(said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: of the signature's types
        return cast("Mapping[str, Any]", validator.validate_python(said))

    return Tool(
        name=read.name,
        description=read.description or "",
        parameters=read.tool_def.parameters_json_schema,
        call=partial(call_function, function),
        traits=traits_of(function),
        check=check,
    )
