"""A plan that an agent keeps for its thread: read, and written as a whole over the revision that was read.

    agent = Agent(name="lead", ..., tools=[Todo()])

Who follows the turn is told each change: `run_progress {"kind": "plan", "revision", "items"}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.agents.contract import Asked, Risk, Tool, ToolContext, ToolRefused, Traits
from app.agents.house import Note, Notes, NoteStale
from app.kernel.values import Json

READ = "read_todos"
WRITE = "write_todos"
NOTE = "todos"
ITEMS_LIMIT = 50
ITEM_LIMIT_CHARS = 200
STATUSES = ("pending", "in_progress", "done")

_WRITING = (
    "Write your plan for work of several steps, all of it each time, and keep it true as you go: one item in_progress, "
    "what is finished done. Give the revision you read or were given last, 0 for the first plan."
)
_ITEM = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "maxLength": ITEM_LIMIT_CHARS},
        "status": {"type": "string", "enum": list(STATUSES)},
    },
    "required": ["text", "status"],
    "additionalProperties": False,
}


class Todo:
    """Implements `ToolSource`."""

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        if not asked.turn.own_thread:
            return ()
        return _read_tool(asked.house.notes), _write_tool(asked.house.notes)


def _read_tool(notes: Notes) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        del arguments
        return _shown(await notes.read(ctx.turn.caller.user_id, ctx.turn.own_thread, NOTE))

    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    return Tool(READ, "Read the plan you keep, and its revision.", parameters, call, Traits(risk=Risk.READS), "todo")


def _write_tool(notes: Notes) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        turn, items, over = ctx.turn, arguments["items"], arguments["revision"]
        try:
            note = await notes.write(turn.caller.user_id, turn.own_thread, NOTE, items, over=over)
        except NoteStale as stale:
            now = _shown(stale.note)
            raise ToolRefused(f"The plan was changed meanwhile; look at it, and write again over: {now}") from stale
        await ctx.progress({"kind": "plan", "revision": note.revision, "items": items})
        return {"revision": note.revision}

    parameters = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": _ITEM, "maxItems": ITEMS_LIMIT},
            "revision": {"type": "integer", "minimum": 0},
        },
        "required": ["items", "revision"],
        "additionalProperties": False,
    }
    return Tool(WRITE, _WRITING, parameters, call, Traits(risk=Risk.WRITES_INSIDE), "todo", _check)


def _shown(note: Note) -> Mapping[str, Json]:
    return {"revision": note.revision, "items": note.document or []}


def _check(said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: as the schema says
    """Errors: ValueError, for the model."""
    items, revision = said.get("items"), said.get("revision")
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
        raise ValueError("revision is the number you were given last, 0 for the first plan")
    if not isinstance(items, list) or len(items) > ITEMS_LIMIT:
        raise ValueError(f"items is a list of at most {ITEMS_LIMIT}")
    for item in items:
        match item:
            case {"text": str(text), "status": str(status)} if 0 < len(text) <= ITEM_LIMIT_CHARS and status in STATUSES:
                continue
        raise ValueError(
            f"an item has a text of 1 to {ITEM_LIMIT_CHARS} characters, and a status: {', '.join(STATUSES)}"
        )
    return {"items": [{"text": item["text"], "status": item["status"]} for item in items], "revision": revision}
