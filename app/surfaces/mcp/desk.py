"""What `/mcp` answers to a request of either era: who we are, which tools the caller has, what a call of one came to.

Facts
- An unknown tool is an error of the protocol; what a tool refuses is its result, with `isError`, so that the model
  reads it (2025-11-25, Tools, "Error Handling"). A tool that is not for the caller's role is as unknown as any other.
- A list is paged by an opaque cursor (2025-11-25, Pagination). Ours says how many tools came before, so one that comes
  or goes between two pages moves others by one, as the specification allows.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from app.infra.wire.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Call, Members, Refused
from app.kernel.errors import Fault
from app.surfaces.mcp.eras import (
    SERVER_MEMBER,
    STATELESS_VERSIONS,
    Era,
    agreed_version,
)
from app.surfaces.mcp.fleet_tools import FleetTools
from app.surfaces.mcp.tool import Asking, McpTool
from app.surfaces.streams.patience import ProcessGoing

PAGE_TOOLS = 100
TEXT_LIMIT_CHARS = 200_000
KEPT_MS = 60_000
VERSION = "1"
"""of what these tools are, not of the program"""
EMPTY_LISTS: Mapping[str, str] = {
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""what there is none of here; clients ask all the same, and some take a refusal for a broken server"""
INSTRUCTIONS = (
    "Portico: the front door of a fleet of services, with agents at its desk. Tools named after a service call it with "
    "your own rights; the others ask agents, read and clear chats, follow runs and decide approvals."
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class McpDesk:
    """Holds nothing between two requests, so any process answers any of them."""

    tools: Mapping[str, McpTool]
    fleet: FleetTools

    async def answer(self, call: Call, era: Era, asking: Asking) -> Members:
        """Errors: Refused."""
        try:
            result = await self._result(call, era, asking)
        except Refused as refused:
            refused.id = call.id
            raise
        if era is Era.HANDSHAKE:
            return result
        return {"resultType": "complete", **result, "_meta": {SERVER_MEMBER: self._ourselves()}}

    async def _result(self, call: Call, era: Era, asking: Asking) -> Members:
        match call.method, era:
            case "initialize", Era.HANDSHAKE:
                return {
                    "protocolVersion": agreed_version(call.params.get("protocolVersion")),
                    "capabilities": {"tools": {}},
                    "serverInfo": self._ourselves(),
                    "instructions": INSTRUCTIONS,
                }
            case "ping", Era.HANDSHAKE:
                return {}
            case "server/discover", Era.STATELESS:
                return {
                    "supportedVersions": list(STATELESS_VERSIONS),
                    "capabilities": {"tools": {}},
                    "instructions": INSTRUCTIONS,
                    **_kept(era),
                }
            case "tools/list", _:
                return {**await self._page(call, asking), **_kept(era)}
            case "tools/call", _:
                return await self._called(call, asking)
            case method, _ if method in EMPTY_LISTS:
                return {EMPTY_LISTS[method]: [], **_kept(era)}
            case _:
                raise Refused(METHOD_NOT_FOUND, f"There is no method {call.method[:100]!r} here.")

    @staticmethod
    def _ourselves() -> Members:
        return {"name": "portico", "title": "Portico", "version": VERSION}

    async def _page(self, call: Call, asking: Asking) -> Members:
        begin = _place_of(call.params.get("cursor"))
        ours = [tool.described() for tool in self.tools.values() if asking.who.may_enter(tool.access)]
        listed = [*ours, *await self.fleet.described(asking.who)]
        if begin and begin >= len(listed):
            raise Refused(INVALID_PARAMS, "The cursor leads behind the end of the list.")
        page: Sequence[Members] = listed[begin : begin + PAGE_TOOLS]
        end = begin + len(page)
        return {"tools": page, **({"nextCursor": _cursor_of(end)} if end < len(listed) else {})}

    async def _called(self, call: Call, asking: Asking) -> Members:
        name, arguments = call.params.get("name"), call.params.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, dict | None):
            raise Refused(INVALID_PARAMS, "A call has the name of a tool, and arguments that are an object.")
        ours = self.tools.get(name)
        is_for_them = ours is not None and asking.who.may_enter(ours.access)
        tool = ours if is_for_them else await self.fleet.find(asking.who, name)
        if tool is None:
            raise Refused(INVALID_PARAMS, f"Unknown tool: {name[:100]}")
        try:
            found = await tool(asking, arguments or {})
        except Fault as fault:
            return _told(_words(fault), is_error=True)
        except ProcessGoing:
            return _told("This process is about to stop: ask again in a moment.", is_error=True)
        text = (await asyncio.to_thread(msgspec.json.encode, found)).decode()
        if len(text) > TEXT_LIMIT_CHARS:
            return _told(
                f"The result has {len(text):,} characters, more than {TEXT_LIMIT_CHARS:,}: ask for less at once.",
                is_error=True,
            )
        return {**_told(text, is_error=False), "structuredContent": found}


def _told(text: str, *, is_error: bool) -> dict[str, object]:
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


def _words(fault: Fault) -> str:
    """Say a fault in words a model can act on."""
    wrong = "; ".join(f"{one.field}: {one.message}" if one.field else one.message for one in fault.errors)
    more = "; ".join(f"{name}: {value}" for name, value in fault.members.items())
    said = fault.detail or fault.title
    return " ".join([f"{fault.type}: {said}", *(f"({words})" for words in (wrong, more) if words)])


def _kept(era: Era) -> Members:
    """Say for how long a list holds, to clients that ask again and again; it is the caller's own."""
    return {"ttlMs": KEPT_MS, "cacheScope": "private"} if era is Era.STATELESS else {}


def _cursor_of(place: int) -> str:
    return base64.urlsafe_b64encode(str(place).encode()).decode()


def _place_of(cursor: object) -> int:
    """Errors: Refused."""
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode() if isinstance(cursor, str) else ""
    except (binascii.Error, UnicodeError):
        text = ""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and cursor == _cursor_of(int(text))):
        raise Refused(INVALID_PARAMS, "The cursor is none that this server gave.")
    return int(text)
