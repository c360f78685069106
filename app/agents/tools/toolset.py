"""The tools of a turn as the model library sees them: listed for each request, checked, called, refused in words.

Nothing of them is the library's to make durable: `performing.py` does that, with steps of the turn's journal.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_ai import RunContext
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import from_json

from app.agents.contract import Tool, ToolRefused, Turn
from app.agents.tools import outputs, search
from app.agents.tools.arguments import checked, own_arguments
from app.agents.tools.interceptors import Interceptors, ToolCall
from app.agents.tools.performing import perform
from app.agents.work import Work
from app.kernel.values import Json


class TurnToolset(AbstractToolset[Work]):
    """Concurrency: one for an agent; what is of a turn is in its `Work`."""

    def __init__(self, interceptors: Interceptors) -> None:
        self._interceptors = interceptors

    @property
    def id(self) -> str:
        return "tools"

    async def get_tools(self, ctx: RunContext[Work]) -> dict[str, ToolsetTool[Work]]:
        work = ctx.deps
        return {
            tool.name: ToolsetTool(
                toolset=self,
                tool_def=ToolDefinition(
                    name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters)
                ),
                max_retries=ctx.max_retries,
                args_validator=_Arguments(tool, work.turn),
            )
            for tool in work.tools.values()
            if tool.name not in work.hidden
        }

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],  # Any: the library's; JSON, as `_Arguments` gave it
        ctx: RunContext[Work],
        tool: ToolsetTool[Work],
    ) -> object:
        del tool
        call = ToolCall(ctx.tool_call_id or "", ctx.deps.tools[name], tool_args, ctx.deps)
        try:
            result = await perform(call, self._interceptors)
        except ToolRefused as refused:
            raise ToolFailed(refused.reason) from refused
        if name == search.NAME:
            ctx.deps.hidden.difference_update(search.found_in(result))
        return outputs.for_model(ctx.deps, name, result)


class _Arguments:
    """What the library asks whether a model's arguments will do; gives them as JSON, without what is overridden."""

    def __init__(self, tool: Tool, turn: Turn) -> None:
        self._tool = tool
        self._turn = turn

    # Any: the library's own options
    def validate_json(self, input: str | bytes | bytearray, **options: Any) -> Mapping[str, Json]:  # noqa: A002 - its name
        try:
            said = from_json(input or "{}")
        except ValueError as error:
            raise ModelRetry(f"The arguments are no JSON: {error}") from error
        return self.validate_python(said, **options)

    def validate_python(self, input: object, **options: Any) -> Mapping[str, Json]:  # noqa: A002 - its name
        del options
        if not isinstance(input, Mapping):
            raise ModelRetry("The arguments are not an object.")
        try:
            checked(self._tool, input, self._turn)
        except ValidationError:
            raise
        except ValueError as error:
            raise ModelRetry(str(error)) from error
        return dict(own_arguments(self._tool, input))
