"""Turns a tool of ours, `async def tool(ctx: ToolContext, ...)`, into one the model library can offer.

The signature without its first parameter becomes the JSON schema, the docstring the description. What happens when
the tool is called, and when it fails, is `calling.py`'s.
"""

import functools
import inspect
from typing import get_type_hints

from pydantic.errors import PydanticUserError
from pydantic_ai import RunContext
from pydantic_ai import Tool as ModelTool
from pydantic_ai.exceptions import ToolFailed, UserError

from app.agents.contract import AgentBroken, Tool, ToolRefused
from app.agents.tools.calling import call_tool
from app.agents.work import Work


def bind(tool: Tool) -> ModelTool[Work]:
    """Errors: AgentBroken, when a type of the signature has no schema."""

    async def run(ctx: RunContext[Work], **arguments: object) -> object:
        try:
            return await call_tool(tool, ctx.deps, ctx.tool_call_id or "", arguments)
        except ToolRefused as refused:
            raise ToolFailed(refused.reason) from refused

    first, *others = inspect.signature(tool).parameters.values()
    hints = {name: hint for name, hint in get_type_hints(tool, include_extras=True).items() if name != "return"}
    functools.update_wrapper(run, tool)
    run.__annotations__ = hints | {first.name: RunContext[Work]}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # inspect reads it, typeshed does not know it
        [first.replace(annotation=RunContext[Work]), *others]
    )
    try:
        return ModelTool(run, takes_ctx=True)
    except (UserError, PydanticUserError) as error:
        reason = str(error).splitlines()[0]
        raise AgentBroken(
            inspect.getfile(tool), f"the tool {run.__name__} has a type without a schema: {reason}"
        ) from error
