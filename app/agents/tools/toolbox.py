"""What an agent may call in one turn: its own tools, and those its sources give for who asks.

The list a turn began with is kept in its journal by names, so a turn that goes on in another process has the same one:
what is gone by then stays on the list and says so, what is new has to wait for the next turn.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import structlog

from app.agents.contract import Agent, Asked, Risk, Tool, ToolContext, ToolRefused, ToolSource, Traits, TurnUnreadable
from app.agents.tools import outputs, search
from app.agents.tools.arguments import overridden
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
    """Concurrency: one for an agent; nothing of a turn is kept for the next. `own` are the agent's, bound."""

    agent: Agent
    own: Sequence[Tool]
    sources: Sequence[ToolSource] = ()

    async def open(self, work: Work) -> None:
        """Give the turn its tools; what the sources say is a step of the turn. Errors: TurnUnreadable."""
        own = {tool.name: self._overridden(tool) for tool in self.own}
        given = await self._of_sources(work, own) if self.sources else {}
        tools = {**own, **given}
        work.hidden = _hidden(tools, own)
        if work.hidden:
            found = search.search_tool({name: tools[name] for name in tools if name in work.hidden})
            tools = {found.name: found, **tools}
        work.tools = tools

    async def _of_sources(self, work: Work, own: Mapping[str, Tool]) -> Mapping[str, Tool]:
        found = _Found(self, work, own)

        async def look(key: str) -> Json:
            del key
            return list(await found.names())

        names = _names(await work.step("tools", look, said_under={"request": work.request}))
        return await found.of(names)

    async def ask(self, work: Work, taken: frozenset[str]) -> Mapping[str, Tool]:
        """Ask every source at once; the first that gives a name has it."""
        asked = Asked(self.agent, work.turn, work.front_door)
        given = await asyncio.gather(*(_given(source, asked) for source in self.sources))
        tools: dict[str, Tool] = {}
        for tool in (tool for some in given for tool in some):
            if NAME.fullmatch(tool.name) is None or tool.name in taken | RESERVED or tool.name in tools:
                log.warning("tool.skipped", tool=tool.name[:64], origin=tool.origin)
            elif len(tools) < TOOLS_LIMIT:
                tools[tool.name] = self._overridden(tool)
        return tools

    def _overridden(self, tool: Tool) -> Tool:
        return overridden(tool, self.agent.overrides.get(tool.name, {}))


@dataclass(slots=True)
class _Found:
    """What the sources give in this process, asked once."""

    toolbox: Toolbox
    work: Work
    own: Mapping[str, Tool]
    tools: Mapping[str, Tool] | None = field(default=None)

    async def names(self) -> Sequence[str]:
        self.tools = await self.toolbox.ask(self.work, frozenset(self.own))
        return tuple(self.tools)

    async def of(self, names: Sequence[str]) -> Mapping[str, Tool]:
        if self.tools is None:  # the step was done by an earlier process
            await self.names()
        tools = self.tools or {}
        return {name: tools.get(name) or _gone(name) for name in names}


async def _given(source: ToolSource, asked: Asked) -> Sequence[Tool]:
    try:
        async with asyncio.timeout(SOURCE_TIMEOUT_S):
            return await source.tools(asked)
    except Exception:
        log.exception("tool_source.failed", source=type(source).__name__, agent=asked.agent.name)
        return ()


def _names(kept: Json) -> Sequence[str]:
    if not isinstance(kept, list) or not all(isinstance(name, str) for name in kept):
        raise TurnUnreadable("The turn was begun by another version of the program, which kept no names of tools.")
    return cast("list[str]", kept)


def _hidden(tools: Mapping[str, Tool], own: Mapping[str, Tool]) -> set[str]:
    """Tell which are not shown before they are searched for: of too many, those that others gave, and then the last."""
    if len(tools) <= VISIBLE_LIMIT:
        return set()
    return set(tools) - set(list(own)[:VISIBLE_LIMIT])


def _gone(name: str) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        del ctx, arguments
        raise ToolRefused(f"The tool {name} is not there any more. Do without it.")

    return Tool(name, "Is not there any more.", {"type": "object"}, call, Traits(risk=Risk.READS), origin="gone")
