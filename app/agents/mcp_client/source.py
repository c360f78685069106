"""The tools of the MCP servers an agent names, for one turn; and what a call of one comes to.

A server that is not there costs its tools and not the turn: it is left out, and a call that finds it gone is told so.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.agents.contract import Asked, Tool, ToolContext, ToolRefused
from app.agents.mcp_client.away import ServerAway
from app.agents.mcp_client.listed import ListedTool, marked, name_for, traits_for
from app.agents.mcp_client.ports import CallFailed, CallLost, NotTaken
from app.agents.mcp_client.progress import shown
from app.agents.mcp_client.server import Server
from app.agents.mcp_client.servers import McpServers
from app.kernel.identity import Principal

SOURCE_PATIENCE_S = 4.0
"""how long a turn waits for a server's tools; the desk waits a little longer for a source"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class McpTools:
    """Implements `ToolSource`."""

    servers: McpServers

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        names = [name for name in asked.agent.mcp_servers if name in self.servers]
        listed = await asyncio.gather(*(self._listed(name, asked.turn.caller) for name in names))
        tools: dict[str, Tool] = {}
        for name, some in zip(names, listed, strict=True):
            server = self.servers[name]
            for one in some:
                wanted = name_for(server, one.name)
                shown = wanted if wanted not in tools else marked(wanted, server, one.name)
                tools[shown] = self._tool(shown, server, one)
        return tuple(tools.values())

    async def _listed(self, name: str, caller: Principal) -> Sequence[ListedTool]:
        try:
            async with asyncio.timeout(SOURCE_PATIENCE_S):
                return await self.servers.tools(name, caller)
        except (ServerAway, TimeoutError) as away:
            log.warning("mcp.tools_missing", server=name, cause=str(away) or "it did not answer in time")
            return ()

    def _tool(self, name: str, server: Server, listed: ListedTool) -> Tool:
        async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:  # Any: as its schema says
            return await _Call(self.servers, server, listed.name, ctx).made(arguments)

        return Tool(
            name=name,
            description=listed.description,
            parameters=listed.schema,
            call=call,
            traits=traits_for(server, listed),
            origin=f"mcp:{server.name}",
        )


@dataclass(frozen=True, slots=True)
class _Call:
    servers: McpServers
    server: Server
    tool: str
    ctx: ToolContext

    async def made(self, arguments: Mapping[str, Any]) -> object:
        """Make the call. Errors: ToolRefused."""
        name = self.server.name
        try:
            try:
                return await self._once(arguments)
            except NotTaken:
                return await self._once(arguments)
        except ServerAway as away:
            raise ToolRefused(f"The MCP server {name} is not there: {away}. Do without it, or try later.") from away
        except NotTaken as lost:
            raise ToolRefused(f"The MCP server {name} does not keep its sessions. Do without it.") from lost
        except CallLost as lost:
            log.warning("mcp.call_lost", server=name, tool=self.tool, request_id=self.ctx.turn.request_id)
            raise ToolRefused(
                f"The MCP server {name} went away during the call, and nobody knows whether it was done. It is being "
                "connected again: find out what became of it before you call it again."
            ) from lost
        except CallFailed as failed:
            raise ToolRefused(f"The tool failed: {failed}") from failed

    async def _once(self, arguments: Mapping[str, Any]) -> object:
        caller = self.ctx.turn.caller
        async with self.servers.session(self.server.name, caller) as session:
            try:
                async with shown(self.ctx.show) as hear:
                    return await session.call(self.tool, arguments, caller=caller, on_progress=hear)
            except (CallLost, NotTaken) as lost:
                self.servers.forsake(self.server.name, caller, session, "it ended during a call")
                raise lost from None
