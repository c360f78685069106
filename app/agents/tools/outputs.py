"""What a model sees of a long result: its beginning, and a handle by which it reads on.

The whole is kept with the call's step, so it is there again when the turn goes on, and goes with the run. Pure but for
the turn's own memory of it.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.agents.contract import Risk, Tool, ToolContext, ToolRefused, Traits
from app.agents.work import Work
from app.kernel.values import Json

NAME = "read_output"
SHOWN_LIMIT_CHARS = 16 * 1024
PAGE_CHARS = 12 * 1024

_DESCRIPTION = "Read on in a result that was too long to be shown whole. Read no more of it than you need."
_PARAMETERS = {
    "type": "object",
    "properties": {
        "handle": {"type": "string", "description": "The handle that came with the beginning."},
        "offset": {"type": "integer", "minimum": 0, "description": "At which character to read on."},
    },
    "required": ["handle", "offset"],
    "additionalProperties": False,
}


def for_model(work: Work, tool: str, result: Json) -> Json:
    """Give a result that is short as it is; of another one the beginning, and let the turn read on in it."""
    if tool == NAME:
        return result
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    if len(text) <= SHOWN_LIMIT_CHARS:
        return result
    handle = f"output-{len(work.outputs) + 1}"
    work.outputs[handle] = text
    work.tools = {**work.tools, NAME: _read_tool(work.outputs)}
    return _page(handle, text, 0)


def _read_tool(outputs: Mapping[str, str]) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        del ctx
        handle, offset = arguments["handle"], arguments["offset"]
        if handle not in outputs:
            raise ToolRefused(f"There is no such handle in this turn; there are: {', '.join(outputs)}.")
        if offset >= len(outputs[handle]):
            raise ToolRefused(f"It ends at character {len(outputs[handle])}.")
        return _page(handle, outputs[handle], offset)

    return Tool(NAME, _DESCRIPTION, _PARAMETERS, call, Traits(risk=Risk.READS), origin="turn", check=_check)


def _page(handle: str, text: str, offset: int) -> Mapping[str, Json]:
    end = min(offset + PAGE_CHARS, len(text))
    rest = f"{NAME}(handle={handle!r}, offset={end}) reads on" if end < len(text) else "this is its end"
    return {"text": text[offset:end], "shown": f"characters {offset} to {end} of {len(text)}; {rest}"}


def _check(said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: as the schema says
    handle, offset = said.get("handle"), said.get("offset", 0)
    if not isinstance(handle, str) or isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise ValueError("give the handle as a text and the offset as a number from 0")
    return {"handle": handle, "offset": offset}
