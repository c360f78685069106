"""What the rest of the client needs of an open connection, in words that know no SDK."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from app.agents.mcp_client.listed import ListedTool
from app.agents.mcp_client.server import Server
from app.kernel.identity import Principal

type CallerHeaders = Callable[[Principal | None], Awaitable[Mapping[str, str]]]
"""What goes with each request made in a caller's name."""


class CallFailed(Exception):
    """The server said no, or nothing that can be read; the message is the server's words, bounded and redacted."""


class CallLost(Exception):
    """The connection ended while the call was under way: nobody knows what became of it."""


class NotTaken(Exception):
    """The server no longer knows the session, and did nothing: the call can be made again on another connection."""


class Progress(Protocol):
    """Hears how far a call is. Returns at once, and raises nothing."""

    def __call__(self, done: float, total: float | None, words: str) -> None: ...


class Session(Protocol):
    """Concurrency: any number of calls at once."""

    @property
    def version(self) -> str:
        """Name the revision of the protocol both sides speak."""
        ...

    async def tools(self, caller: Principal | None) -> Sequence[ListedTool]:
        """Ask for the tools the entry lets through, in a caller's name. Errors: ServerAway."""
        ...

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, caller: Principal | None, on_progress: Progress
    ) -> object:
        """Call a tool in a caller's name. Errors: CallFailed, CallLost, NotTaken.

        Concurrency: when it is cancelled, the server is told. Any: what the model said, as its schema takes it.
        """
        ...

    async def hear_changes(self, on_change: Callable[[], None]) -> None:
        """Wait for the server to say that its tools are others (2026-07-28; before, it says so by itself)."""
        ...


class OpenSession(Protocol):
    def __call__(
        self,
        server: Server,
        *,
        caller: Principal | None,
        headers_of: CallerHeaders,
        on_change: Callable[[], None],
        on_end: Callable[[], None],
    ) -> AbstractAsyncContextManager[Session]:
        """Connect. Whoever enters bounds the time it takes, and leaves in the task that entered.

        `on_change` is called when the server says its tools are others, `on_end` when it is gone.
        Errors: ServerAway; while it is open, whatever ended the connection.
        """
        ...
