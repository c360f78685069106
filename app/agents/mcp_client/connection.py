"""A connection that is kept: opened when it is wanted, opened again when it broke, closed when nobody uses it.

One task keeps it (`keep`), since what the SDK opens must be closed by the task that opened it; any other may use it.
Rule: who cancels that task calls `end` first. A cancellation that comes while the SDK's own task groups fail is lost in
them, and a connection that cannot be opened would be tried for ever.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

import anyio
import structlog

from app.agents.mcp_client.away import ServerAway, first_of
from app.agents.mcp_client.listed import ListedTool
from app.agents.mcp_client.pace import Pace
from app.agents.mcp_client.ports import CallerHeaders, OpenSession, Session
from app.agents.mcp_client.server import Server
from app.kernel.identity import Principal

RELIST_S = 60.0
"""how often a server is asked for its tools that did not say they changed; so a silent end is noticed, too"""
IDLE_S = 300.0
STEADY_S = 10.0
"""a connection that held so long is forgiven what failed before it"""
PATIENCE_S = 1.0

log = structlog.get_logger(__name__)


class State(StrEnum):
    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    RESTING = "resting"
    """it could not be opened a moment ago, and is left alone for another"""


class Connection:
    """Concurrency: one event loop. `caller` is for whom it is opened where it is a user's own, None where shared."""

    def __init__(
        self,
        server: Server,
        *,
        open_session: OpenSession,
        headers_of: CallerHeaders,
        caller: Principal | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.server = server
        self.caller = caller
        self.state = State.CLOSED
        self.trouble = ""
        self.tools: Sequence[ListedTool] = ()
        self.uses = 0
        self.used_s = time.monotonic()
        self._open_session = open_session
        self._headers_of = headers_of
        self._pace = pace or Pace()
        self._session: Session | None = None
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._news = asyncio.Event()
        self._is_forsaken = False
        self._is_ended = False
        self._begun_s = 0.0

    # --- using it

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Session]:
        """Give the open session, once there is one. Errors: ServerAway."""
        self.uses += 1
        try:
            yield await self._opened()
        finally:
            self.uses -= 1
            self.used_s = time.monotonic()

    async def _opened(self) -> Session:
        self._wanted.set()
        if self._session is None and self.state is not State.RESTING:
            try:
                async with asyncio.timeout(self.server.row.connect_timeout_s + 1):
                    await self._settled.wait()
            except TimeoutError:
                raise ServerAway("it is being waited for") from None
        if self._session is None:
            raise ServerAway(self.trouble or "it is not there")
        return self._session

    def forsake(self, session: Session, trouble: str) -> None:
        """Tell that this session is of no use any more; the next use waits for another one."""
        if self._session is session:
            self._is_over(trouble)
            self._is_forsaken = True
            self._news.set()

    def end(self) -> None:
        """Let `keep` come to its end, also where it does not hear that it is cancelled."""
        self._is_ended = True
        self._is_forsaken = True
        self._news.set()
        self._wanted.set()

    # --- keeping it

    async def keep(self) -> None:
        """Keep it until cancelled; a shared one is always wanted."""
        while not self._is_ended:
            if self.caller is not None:
                await self._wanted.wait()
            self._begun_s = time.monotonic()
            try:
                await self._hold()
            except Exception as error:  # noqa: BLE001 - whatever a library and a server come to costs the server's tools
                await self._rest(words_of(error))
            else:
                if self._is_forsaken:
                    await self._rest(self.trouble or "it ended")

    async def _hold(self) -> None:
        """Open it and hold it until it is over. Errors: whatever kept it from opening, or ended it."""
        self.state = State.OPENING
        self._is_forsaken = self._is_ended
        self._news.clear()
        try:
            async with (
                asyncio.timeout(self.server.row.connect_timeout_s) as deadline,
                self._open_session(
                    self.server,
                    caller=self.caller,
                    headers_of=self._headers_of,
                    on_change=self._news.set,
                    on_end=self._end,
                ) as session,
            ):
                self.tools = await session.tools(self.caller)
                deadline.reschedule(None)
                self._is_open(session)
                async with anyio.create_task_group() as tasks:
                    if self.caller is None:
                        tasks.start_soon(session.hear_changes, self._news.set)
                    await self._watch(session)
                    tasks.cancel_scope.cancel()
        finally:
            self._is_over("it went away")

    async def _watch(self, session: Session) -> None:
        """Look after its tools until it is over, or nobody needs it. Errors: ServerAway."""
        while not await self._hears_its_end():
            if self.is_idle(time.monotonic()):
                self._wanted.clear()
                self._is_over("nobody used it")
                return
            if self.caller is None:  # a user's are asked for in his name, when he asks
                async with asyncio.timeout(self.server.row.connect_timeout_s):
                    self.tools = await session.tools(None)

    async def _hears_its_end(self) -> bool:
        """Wait for news, or until it is time to ask for some."""
        if not self._is_forsaken:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELIST_S):
                    await self._news.wait()
            self._news.clear()
        return self._is_forsaken

    def is_idle(self, now_s: float) -> bool:
        return self.caller is not None and not self.uses and now_s - self.used_s > IDLE_S

    def _end(self) -> None:
        if self._session is not None:
            self.forsake(self._session, "it ended")

    def _is_open(self, session: Session) -> None:
        self._session = session
        self.state = State.OPEN
        self.trouble = ""
        self._settled.set()
        log.info("mcp.connected", server=self.server.name, version=session.version, tools=len(self.tools))

    def _is_over(self, trouble: str) -> None:
        """What comes now waits for the next session."""
        if self._session is not None:
            self._session = None
            self.state = State.CLOSED
            self.trouble = trouble
            self._settled.clear()

    async def _rest(self, trouble: str) -> None:
        """Say what went wrong, and leave the server alone for a while; who comes in a short one waits."""
        self.trouble = self.server.secrets.hide(trouble)
        if self._is_ended:
            return
        if time.monotonic() - self._begun_s > STEADY_S:
            self._pace.forgive()
        pause_s = self._pace.failed()
        log.warning("mcp.disconnected", server=self.server.name, cause=self.trouble, again_in_s=round(pause_s, 2))
        if pause_s <= PATIENCE_S:
            await asyncio.sleep(pause_s)
            return
        self.state = State.RESTING
        self._settled.set()
        await asyncio.sleep(pause_s)
        self.state = State.CLOSED
        self._settled.clear()
        self._wanted.clear()


def words_of(error: BaseException) -> str:
    """Say in a few words what an error, or the first of a group, comes to."""
    error = first_of(error)
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ServerAway):
        return str(error)
    return f"{type(error).__name__}: {error}"[:300]


def load_session_module() -> OpenSession:
    """Import what knows the SDK; a second, so in a thread. Errors: ImportError, where the extra is not installed."""
    module = importlib.import_module("app.agents.mcp_client.session")
    opened: OpenSession = module.open_session
    return opened
