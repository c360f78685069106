"""One open connection, as the official SDK makes it: which tools there are, one call, and whether it is over.

With `stdio.py` the only module that knows the SDK. It is imported when the first connection is opened, in a thread: it
takes a second, and is an extra.
Facts
- The SDK speaks both eras: it asks `server/discover` (2026-07-28) and falls back to `initialize`.
- It sends each request in the context of the task that asked for it, so a context variable tells whose it is.
- A task that is cancelled while it waits sends `notifications/cancelled`, or closes the request's stream.
- What a progress callback raises beyond `Exception` would end everybody's connection, so it raises nothing.
"""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
import structlog
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    CallToolResult,
    Implementation,
    Tool,
    ToolListChangedNotification,
)
from pydantic import ValidationError

from app.agents.mcp_client.away import ServerAway, first_of
from app.agents.mcp_client.contents import result_of
from app.agents.mcp_client.listed import ListedTool
from app.agents.mcp_client.ports import CallerHeaders, CallFailed, CallLost, NotTaken, Progress
from app.agents.mcp_client.server import Server
from app.agents.mcp_client.stdio import stdio_transport
from app.infra.http_client.streaming import streaming_client
from app.kernel.identity import Principal
from app.kernel.values import Json

ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
TOOLS_LIMIT = 500
PAGES_LIMIT = 20
DESCRIPTION_LIMIT_CHARS = 4096
SCHEMA_LIMIT_CHARS = 64 * 1024
WORDS_LIMIT_CHARS = 500

# The SDK logs whole messages, and lines of servers; what is to be said of a server, we say.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Whose request it is, and what was sent along in that name: secret, too."""

    caller: Principal | None = None
    sent: list[str] = field(default_factory=list)


_ASKING: ContextVar[_Asking] = ContextVar("mcp_asking")

log = structlog.get_logger(__name__)


class SdkSession:
    """Implements `Session`."""

    def __init__(self, server: Server, client: Client) -> None:
        self._server = server
        self._client = client

    @property
    def version(self) -> str:
        return self._client.protocol_version

    async def tools(self, caller: Principal | None) -> Sequence[ListedTool]:
        token = _ASKING.set(_Asking(caller))
        try:
            return await self._tools()
        finally:
            _ASKING.reset(token)

    async def _tools(self) -> Sequence[ListedTool]:
        found: list[ListedTool] = []
        cursor: str | None = None
        for _ in range(PAGES_LIMIT):
            try:
                page = await self._client.list_tools(cursor=cursor)
            except (MCPError, ValidationError) as error:
                raise ServerAway(f"it does not list its tools: {self._words(error)}") from error
            found += [listed for tool in page.tools if (listed := self._listed(tool)) is not None]
            cursor = page.next_cursor
            if not cursor or len(found) >= TOOLS_LIMIT:
                break
        return found[:TOOLS_LIMIT]

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, caller: Principal | None, on_progress: Progress
    ) -> object:
        async def hear(progress: float, total: float | None, message: str | None) -> None:
            on_progress(progress, total, self._server.secrets.hide((message or "")[:WORDS_LIMIT_CHARS]))

        asking = _Asking(caller)
        token = _ASKING.set(asking)
        try:
            result = await self._client.call_tool(tool, dict(arguments), progress_callback=hear)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise CallLost from error
            if error.code == INVALID_REQUEST and error.message == "Session terminated":
                raise NotTaken from error
            raise CallFailed(self._words(error)) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise CallLost from error
        except (ValidationError, RuntimeError) as error:  # RuntimeError: not what its own schema says
            raise CallFailed("its answer cannot be read") from error
        finally:
            _ASKING.reset(token)
        return self._read(result, asking)

    async def hear_changes(self, on_change: Callable[[], None]) -> None:
        try:
            async with self._client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    on_change()
        except (ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            return  # its tools are asked for now and then, too

    def _listed(self, tool: Tool) -> ListedTool | None:
        if not self._server.offers(tool.name):
            return None
        if len(json.dumps(tool.input_schema)) > SCHEMA_LIMIT_CHARS or len(tool.name) > WORDS_LIMIT_CHARS:
            log.warning("mcp.tool_too_large", server=self._server.name, tool=tool.name[:64])
            return None
        hints = tool.annotations
        return ListedTool(
            tool.name,
            (tool.description or tool.title or tool.name)[:DESCRIPTION_LIMIT_CHARS],
            tool.input_schema,
            reads_only=hints.read_only_hint if hints else None,
            destroys=hints.destructive_hint if hints else None,
            is_idempotent=hints.idempotent_hint if hints else None,
        )

    def _read(self, result: CallToolResult, asking: _Asking) -> Json:
        given = self._server.secrets.and_(asking.sent).hide_in(result_of(result))
        if result.is_error:
            raise CallFailed(str(given)[: 4 * WORDS_LIMIT_CHARS] or "it failed, and says no more")
        return given

    def _words(self, error: Exception) -> str:
        words = error.message if isinstance(error, MCPError) else type(error).__name__
        return self._server.secrets.hide(words)[:WORDS_LIMIT_CHARS]


@asynccontextmanager
async def open_session(
    server: Server,
    *,
    caller: Principal | None,
    headers_of: CallerHeaders,
    on_change: Callable[[], None],
    on_end: Callable[[], None],
) -> AsyncGenerator[SdkSession]:
    """Implements `OpenSession`."""

    async def hear(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            on_change()

    _ASKING.set(_Asking(caller))  # the connection's own task: whoever it was opened for
    async with AsyncExitStack() as stack:
        transport = stdio_transport(server, on_end) if server.row.command else await _http(server, headers_of, stack)
        client = Client(
            transport, message_handler=hear, client_info=Implementation(name="portico", version="1"), cache=None
        )
        try:
            await stack.enter_async_context(client)
        except (MCPError, ExceptionGroup) as error:
            said = first_of(error)
            if isinstance(said, MCPError):
                raise ServerAway(f"it does not speak with us: {said.message[:WORDS_LIMIT_CHARS]}") from error
            raise
        yield SdkSession(server, client)


async def _http(server: Server, headers_of: CallerHeaders, stack: AsyncExitStack) -> Transport:
    async def headers_now() -> Mapping[str, str]:
        asking = _ASKING.get()
        headers = await headers_of(asking.caller)
        asking.sent.append(headers.get("authorization", "").rpartition(" ")[2])
        return headers

    client = await stack.enter_async_context(
        streaming_client(
            headers=server.headers,
            headers_now=headers_now,
            connect_s=server.row.connect_timeout_s,
            limit_bytes=ANSWER_LIMIT_BYTES,
            may_be_private=server.row.private_addresses,
        )
    )
    return streamable_http_client(server.url, http_client=client, max_sse_event_size=ANSWER_LIMIT_BYTES)
