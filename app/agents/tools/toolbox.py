"""What an agent may call in one turn: its own tools, and those its sources give for who asks.

The list a turn began with is kept in its journal by names, so a turn that goes on in another process has the same one:
what is gone by then stays on the list and says so, what is new has to wait for the next turn.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from app.agents.contract import (
    Agent,
    Asked,
    Risk,
    Tool,
    ToolContext,
    ToolRefused,
    ToolSource,
    Traits,
    Turn,
    TurnUnreadable,
)
from app.agents.house import House
from app.agents.tools import outputs, search
from app.agents.tools.arguments import overridden
from app.agents.tools.reading import only_reads
from app.agents.work import Work
from app.kernel.values import Json

SOURCE_TIMEOUT_S = 5.0
VISIBLE_LIMIT = 30
"""of a turn's tools; the others are found by searching, and shown when they are"""
TOOLS_LIMIT = 2000
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED = frozenset({search.NAME, outputs.NAME})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Concurrency: one for an agent; nothing of a turn is kept for the next. `own` are the agent's, bound;
    `only` names what is left of all of them, where it names anything.
    """

    agent: Agent
    own: Sequence[Tool]
    sources: Sequence[ToolSource] = ()
    house: House = field(default_factory=House)
    only: frozenset[str] = frozenset()

    async def open(self, work: Work, *, window_tokens: int) -> None:
        """Give the turn its tools; what the sources say is a step of the turn. Errors: TurnUnreadable."""
        own = {tool.name: self._overridden(tool) for tool in self.own if self._is_offered(tool, work.turn)}
        if not self.sources:
            work.tools, work.hidden = own, _hidden(own, own, window_tokens)
        else:
            await self._ask_once(work, own, window_tokens)
        if work.hidden:
            found = search.search_tool({name: work.tools[name] for name in work.tools if name in work.hidden})
            work.tools = {found.name: found, **work.tools}

    async def _ask_once(self, work: Work, own: Mapping[str, Tool], window_tokens: int) -> None:
        given: Mapping[str, Tool] | None = None

        async def look(key: str) -> Json:
            del key
            nonlocal given
            given = await self.ask(work, frozenset(own))
            return {"given": list(given), "hidden": sorted(_hidden({**own, **given}, own, window_tokens))}

        kept = await work.step("tools", look, said_under={"request": work.request}, only_reads=True)
        names, hidden = _read(kept)
        if given is None:  # the step was done by an earlier process
            given = await self.ask(work, frozenset(own))
        work.tools = {**own, **{name: given.get(name) or _gone(name) for name in names}}
        work.hidden = set(hidden) & work.tools.keys()

    async def ask(self, work: Work, taken: frozenset[str]) -> Mapping[str, Tool]:
        """Ask every source at once; the first that gives a name has it."""
        asked = Asked(self.agent, work.turn, work.front_door, self.house)
        given = await asyncio.gather(*(_given(source, asked) for source in self.sources))
        tools: dict[str, Tool] = {}
        for tool in (tool for some in given for tool in some if self._is_offered(tool, work.turn)):
            if NAME.fullmatch(tool.name) is None or tool.name in taken | RESERVED or tool.name in tools:
                log.warning("tool.skipped", tool=tool.name[:64], origin=tool.origin)
            elif len(tools) < TOOLS_LIMIT:
                tools[tool.name] = self._overridden(tool)
        return tools

    def _is_offered(self, tool: Tool, turn: Turn) -> bool:
        return _has_somebody(tool, turn) and (not self.only or tool.name in self.only)

    def _overridden(self, tool: Tool) -> Tool:
        return overridden(tool, self.agent.overrides.get(tool.name, {}))


async def _given(source: ToolSource, asked: Asked) -> Sequence[Tool]:
    try:
        async with asyncio.timeout(SOURCE_TIMEOUT_S):
            return await source.tools(asked)
    except Exception:
        log.exception("tool_source.failed", source=type(source).__name__, agent=asked.agent.name)
        return ()


def _has_somebody(tool: Tool, turn: Turn) -> bool:
    """Tell whether there is somebody to run it: a client's tool needs one that follows, and a run that can wait; and
    one who may, where it changes something.
    """
    if not (turn.may_write or only_reads(tool)):
        return False
    return not tool.is_the_clients or (turn.is_attended and turn.caller.acting is not None)


def _read(kept: Json) -> tuple[Sequence[str], Sequence[str]]:
    match kept:
        case {"given": [*given], "hidden": [*hidden]}:
            return [str(name) for name in given], [str(name) for name in hidden]
    raise TurnUnreadable("The turn was begun by another version of the program, which kept no names of tools.")


def _hidden(tools: Mapping[str, Tool], own: Mapping[str, Tool], window_tokens: int) -> set[str]:
    """Tell which are not shown before they are searched for: of too many, those that others gave, and then the last.

    Too many are they also where what is said of them takes a quarter of the model's window, at four characters a token.
    """
    said_chars = sum(len(tool.description) + len(json.dumps(tool.parameters, default=str)) for tool in tools.values())
    is_too_much = said_chars > window_tokens and len(tools) > len(own)
    if len(tools) <= VISIBLE_LIMIT and not is_too_much:
        return set()
    return set(tools) - set(list(own)[:VISIBLE_LIMIT])


def _gone(name: str) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        del ctx, arguments
        raise ToolRefused(f"The tool {name} is not there any more. Do without it.")

    return Tool(name, "Is not there any more.", {"type": "object"}, call, Traits(risk=Risk.READS), origin="gone")
