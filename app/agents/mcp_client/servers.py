"""Every MCP server there is, and the connections to them: one for each, or one for each user where headers are his.

Rule: a connection is for whom it is: what one user's may see is shown to no other.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import structlog

from app.agents.front_door import Credentials
from app.agents.mcp_client.away import ServerAway
from app.agents.mcp_client.connection import Connection, State, load_session_module
from app.agents.mcp_client.listed import ListedTool
from app.agents.mcp_client.ports import CallerHeaders, OpenSession, Session
from app.agents.mcp_client.server import Server
from app.infra.observability.health import NotWell
from app.kernel.identity import Principal
from app.kernel.ids import UserId

USERS_LIMIT = 100
"""of a server at once; the one that rested longest makes room"""
FORGET_S = 60.0

type Place = tuple[str, UserId | None]

log = structlog.get_logger(__name__)


class McpServers:
    """Concurrency: one for a process. `keep` runs in the background; nothing is connected before."""

    def __init__(
        self,
        servers: Iterable[Server],
        *,
        run_tokens: Credentials,
        load: Callable[[], OpenSession] = load_session_module,
    ) -> None:
        self._servers = {server.name: server for server in servers if not server.row.disabled}
        self._run_tokens = run_tokens
        self._load = load
        self._open_session: OpenSession | None = None
        self._connections: dict[Place, Connection] = {}
        self._keepers: dict[Place, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._servers)

    def __getitem__(self, name: str) -> Server:
        return self._servers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._servers

    # --- using them

    async def tools(self, name: str, caller: Principal) -> Sequence[ListedTool]:
        """Give what a server offers a caller. Errors: ServerAway."""
        connection = self._connection(name, caller)
        async with connection.session() as session:
            return connection.tools if connection.caller is None else await session.tools(caller)

    def session(self, name: str, caller: Principal) -> AbstractAsyncContextManager[Session]:
        """Give an open session for a call. Errors: ServerAway, when it is entered."""
        return self._connection(name, caller).session()

    def forsake(self, name: str, caller: Principal, session: Session, trouble: str) -> None:
        connection = self._connections.get(self._place(name, caller))
        if connection is not None:
            connection.forsake(session, trouble)

    async def health(self, name: str) -> str:
        """Tell how a server is, as its connections found it. Errors: NotWell."""
        found = [one for (server, _), one in self._connections.items() if server == name]
        kind = self._servers[name].kind
        if not self._servers[name].row.is_per_user:
            connection = found[0] if found else None
            if connection is None or connection.state is not State.OPEN:
                raise NotWell(
                    f"{kind}: " + (connection.trouble if connection and connection.trouble else "not connected")
                )
            return f"{kind}, {len(connection.tools)} tools"
        away = [one for one in found if one.state is State.RESTING]
        if away:
            raise NotWell(f"{kind}: {away[0].trouble}")
        return f"{kind}, connections of {len(found)} users"

    # --- keeping them

    async def keep(self) -> None:
        """Hold every shared connection, and those of users that are asked for, until cancelled."""
        self._open_session = await asyncio.to_thread(self._load)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for server in self._servers.values():
                    if not server.row.is_per_user:
                        self._begin((server.name, None), server, None)
                try:
                    while True:
                        await asyncio.sleep(FORGET_S)
                        self._forget_idle()
                finally:
                    for connection in self._connections.values():
                        connection.end()
        finally:
            self._group = None
            self._connections.clear()
            self._keepers.clear()

    def _connection(self, name: str, caller: Principal) -> Connection:
        server = self._servers.get(name)
        if server is None:
            raise ServerAway("there is no server of this name")
        place = self._place(name, caller)
        found = self._connections.get(place)
        if found is None:
            return self._begin(place, server, caller)
        if found.caller is not None:
            found.caller = caller  # who asked last: a run's token is good for as long as the run
        return found

    def _begin(self, place: Place, server: Server, caller: Principal | None) -> Connection:
        if self._group is None or self._open_session is None:
            raise ServerAway("it is not connected yet")
        if caller is not None:
            self._make_room(server.name)
        connection = Connection(
            server, open_session=self._open_session, headers_of=self._headers_of(server), caller=caller
        )
        self._connections[place] = connection
        self._keepers[place] = self._group.create_task(connection.keep(), name=f"mcp {server.name}")
        return connection

    def _make_room(self, name: str) -> None:
        """Errors: ServerAway."""
        of_users = {place: one for place, one in self._connections.items() if place[0] == name}
        if len(of_users) < USERS_LIMIT:
            return
        unused = {place: one for place, one in of_users.items() if not one.uses}
        if not unused:
            raise ServerAway("too many users are at it at once")
        self._end(min(unused, key=lambda place: unused[place].used_s))

    def _forget_idle(self) -> None:
        now_s = time.monotonic()
        for place in [place for place, one in self._connections.items() if one.is_idle(now_s)]:
            self._end(place)

    def _end(self, place: Place) -> None:
        self._connections.pop(place).end()
        self._keepers.pop(place).cancel()

    def _place(self, name: str, caller: Principal) -> Place:
        return name, caller.user_id if self._servers[name].row.is_per_user else None

    def _headers_of(self, server: Server) -> CallerHeaders:
        async def headers(caller: Principal | None) -> Mapping[str, str]:
            given: dict[str, str] = {}
            if caller is not None and server.row.caller_id_header:
                given[server.row.caller_id_header] = str(caller.user_id)
            if caller is not None and server.row.caller_token:
                token = caller.credential or await self._run_tokens.token_for(caller)
                given["authorization"] = f"Bearer {token}"
            return given

        return headers
