"""Tools found by what they are for, where there are too many to show: the model asks, and has the best from then on.

What was found is the result of a call like any other, kept with its step, so a turn that goes on has the same again,
whatever the tools are described as by then.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.agents.contract import Risk, Tool, ToolContext, ToolRefused, Traits
from app.kernel.values import Json

NAME = "search_tools"
FOUND_LIMIT = 8
QUERY_LIMIT_CHARS = 500
DESCRIPTION_LIMIT_CHARS = 300
NAME_WEIGHT = 3

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\d_a-zA-Z]+")

_DESCRIPTION = (
    "Find more tools by what they are for; not all there are have been shown. Those found can be called from the next "
    "step on. Say in a few words what you want to do; if nothing fits, try other words once, then do without."
)
_PARAMETERS = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What the tool should do, in a few words."}},
    "required": ["query"],
    "additionalProperties": False,
}


def search_tool(hidden: Mapping[str, Tool]) -> Tool:
    """Make the tool that finds the hidden ones."""

    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        del ctx
        names = ranked(arguments["query"], hidden.values())[:FOUND_LIMIT]
        if not names:
            raise ToolRefused("No tool fits these words.")
        return {"tools": [{"name": name, "description": _about(hidden[name])} for name in names]}

    return Tool(NAME, _DESCRIPTION, _PARAMETERS, call, Traits(risk=Risk.READS), origin="turn", check=_check)


def found_in(result: Json) -> Sequence[str]:
    """Read the names out of what a search came to."""
    match result:
        case {"tools": [*found]}:
            return [str(one["name"]) for one in found if isinstance(one, Mapping) and "name" in one]
    return ()


def ranked(query: str, tools: Iterable[Tool]) -> Sequence[str]:
    """Name the tools that share words with the query, the best first: rare words count for more, names for most."""
    asked = _words(query)
    known = [(tool.name, _words(tool.name), _words(tool.description)) for tool in tools]
    seen = Counter(word for _, name, about in known for word in name | about)
    rarity = {word: math.log(1 + len(known) / seen[word]) for word in asked if seen[word]}
    scores = {
        tool: sum(rarity[word] * (NAME_WEIGHT if word in name else 1) for word in rarity if word in name | about)
        for tool, name, about in known
    }
    return sorted((tool for tool, score in scores.items() if score), key=lambda tool: (-scores[tool], tool))


def _words(text: str) -> frozenset[str]:
    """Split a text, or a name in whatever manner of writing, into words without their plural."""
    return frozenset(word.lower().removesuffix("s") or word for word in _WORD.findall(text))


def _about(tool: Tool) -> str:
    return tool.description[:DESCRIPTION_LIMIT_CHARS]


def _check(said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: as the schema says
    query = said.get("query")
    if not isinstance(query, str) or not query.strip():
        raise ValueError("query is missing: say in a few words what the tool should do")
    return {"query": query[:QUERY_LIMIT_CHARS]}
