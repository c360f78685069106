"""What an agent remembers of a person beyond a chat: kept for that person alone, who may read and delete all of it.

agent = Agent(name="assistant", ..., tools=[Memory()])
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.agents.contract import Asked, Risk, Tool, ToolContext, ToolRefused, Traits
from app.agents.house import MEMORIES_LIMIT, MEMORY_LIMIT_CHARS, TAG_LIMIT_CHARS, TAGS_LIMIT, Memories, MemoryFull
from app.agents.house import Memory as Remembered
from app.kernel.values import Json

REMEMBER = "remember"
RECALL = "recall"
FORGET = "forget"
RECALLED_LIMIT = 20
QUERY_LIMIT_CHARS = 500

_TEXT = {"type": "string", "maxLength": MEMORY_LIMIT_CHARS, "description": "One fact, in a sentence of its own."}
_TAGS = {
    "type": "array",
    "items": {"type": "string", "maxLength": TAG_LIMIT_CHARS},
    "maxItems": TAGS_LIMIT,
    "description": "Of what or whom it is: a name, a subject.",
}


class Memory:
    """Implements `ToolSource`."""

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        memories = asked.house.memories
        return _remember_tool(memories), _recall_tool(memories), _forget_tool(memories)


def _remember_tool(memories: Memories) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        try:
            made = await memories.remember(ctx.turn.caller.user_id, arguments["text"], arguments["tags"])
        except MemoryFull as full:
            words = f"{MEMORIES_LIMIT} things are remembered already; {FORGET} what is not true or needed any more."
            raise ToolRefused(words) from full
        return _shown(made)

    description = (
        "Remember something about the person for later conversations: what they said of themselves, prefer or decided. "
        "Never a password or a key, and nothing they would not want to be kept."
    )
    return Tool(
        REMEMBER,
        description,
        _parameters(("text",), text=_TEXT, tags=_TAGS),
        call,
        Traits(risk=Risk.WRITES_INSIDE),
        "memory",
        _check_memory,
    )


def _recall_tool(memories: Memories) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        found = await memories.recall(ctx.turn.caller.user_id, arguments["query"], limit=RECALLED_LIMIT)
        return {"memories": [_shown(one) for one in found]}

    query = {"type": "string", "description": "Words to look for; without any, the newest are given."}
    description = "Look up what is remembered about the person from earlier conversations."
    return Tool(
        RECALL,
        description,
        _parameters((), query=query),
        call,
        Traits(risk=Risk.READS),
        "memory",
        _check_query,
    )


def _forget_tool(memories: Memories) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        if not await memories.forget(ctx.turn.caller.user_id, arguments["id"]):
            raise ToolRefused(f"Nothing of this id is remembered; {RECALL} tells the ids.")
        return {"forgotten": arguments["id"]}

    description = "Forget something that is remembered and not true or wanted any more."
    return Tool(
        FORGET,
        description,
        _parameters(("id",), id={"type": "integer", "description": f"As {RECALL} tells it."}),
        call,
        Traits(risk=Risk.WRITES_INSIDE),
        "memory",
        _check_id,
    )


def _shown(one: Remembered) -> Mapping[str, Json]:
    return {"id": one.id, "text": one.text, "tags": list(one.tags), "since": one.created_at.date().isoformat()}


def _parameters(required: Sequence[str], **properties: Mapping[str, object]) -> Mapping[str, object]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# Any: as the tools' schemas say
def _check_memory(said: Mapping[str, Json]) -> Mapping[str, Any]:
    text, tags = said.get("text"), said.get("tags") or []
    if not isinstance(text, str) or not 0 < len(text.strip()) <= MEMORY_LIMIT_CHARS:
        raise ValueError(f"text has 1 to {MEMORY_LIMIT_CHARS} characters")
    if not isinstance(tags, list) or len(tags) > TAGS_LIMIT:
        raise ValueError(f"tags is a list of at most {TAGS_LIMIT}")
    if not all(isinstance(tag, str) and 0 < len(tag.strip()) <= TAG_LIMIT_CHARS for tag in tags):
        raise ValueError(f"a tag has 1 to {TAG_LIMIT_CHARS} characters")
    return {"text": text.strip(), "tags": list(dict.fromkeys(str(tag).strip() for tag in tags))}


def _check_query(said: Mapping[str, Json]) -> Mapping[str, Any]:
    query = said.get("query") or ""
    if not isinstance(query, str):
        raise ValueError("query is a text")  # noqa: TRY004 - what is told to the model
    return {"query": query[:QUERY_LIMIT_CHARS]}


def _check_id(said: Mapping[str, Json]) -> Mapping[str, Any]:
    id_ = said.get("id")
    if isinstance(id_, bool) or not isinstance(id_, int) or not 0 < id_ < 2**63:
        raise ValueError("id is a number")
    return {"id": id_}
