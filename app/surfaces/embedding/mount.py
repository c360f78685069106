"""Portico as an ASGI app that another program serves or mounts: under whichever path, with a lifespan to hand over.

Facts
- `path` and `raw_path` hold the path the client sent, `root_path` the part of it that led here (ASGI specification,
  HTTP). Starlette and FastAPI keep to it; Litestar cuts `path` at a mount and says nothing in `root_path`, so that its
  plug-in says where it is.
- Neither Starlette nor FastAPI run the lifespan of what they mount: the host is to be given ours.
Rule: nothing the host put into the scope is handed on but what the specification names, and nothing is put into it.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import quote, unquote

import structlog
from litestar import Litestar

from app.agents.tools.front_door import FrontDoorAddress
from app.edge.asgi import record_of
from app.edge.asgi_client import Client, Message, Receive, Scope, Send
from app.edge.asgi_handshake import as_handshake
from app.edge.middleware.request_id import AssignRequestId
from app.kernel.errors import Fault
from app.surfaces.embedding.entrance import Entrance

log = structlog.get_logger(__name__)

_KNOWN = ("type", "asgi", "http_version", "method", "scheme", "query_string", "client", "server", "subprotocols")
_REFERENCES = (b"location", b"content-location")

type Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]  # Any: the host's app, and what its lifespan gives
type Build = Callable[[FrontDoorAddress], Litestar]


class EmbeddedApp:
    """Serve it (`uvicorn mine:app`), or mount it and hand its `lifespan` to the host.

    What it is made of is built when its lifespan begins, and closed when that ends; it may begin again.
    """

    def __init__(self, build: Build, entrance: Entrance) -> None:
        self._build = build
        self._entrance = entrance
        self._address = FrontDoorAddress()
        self._inner: Litestar | None = None
        self._name_request = AssignRequestId()

    @asynccontextmanager
    async def lifespan(self, host: object = None) -> AsyncIterator[None]:
        """Be open for as long as the block lasts: `FastAPI(lifespan=assistant.lifespan)`."""
        del host
        if self._inner is not None:
            raise RuntimeError("the assistant is open already: hand its lifespan to one program, once")
        self._address = FrontDoorAddress()
        inner = self._build(self._address)
        async with inner.lifespan():
            self._inner = inner
            try:
                yield
            finally:
                self._inner = None

    def around(self, own: Lifespan) -> Lifespan:
        """Open it around a host's own lifespan: `FastAPI(lifespan=assistant.around(mine))`."""

        @asynccontextmanager
        async def both(host: Any) -> AsyncIterator[Any]:  # Any: as in Lifespan
            async with self.lifespan(), own(host) as state:
                yield state

        return both

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.serve(scope, receive, send, root_path=scope.get("root_path", ""))

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, root_path: str) -> None:
        """Answer what was sent to a path below `root_path`."""
        inner = self._inner
        if inner is None:
            raise RuntimeError(
                "the assistant is shut: hand its lifespan to its host, as in FastAPI(lifespan=it.lifespan)"
            )
        ours = _below(scope, root_path)
        try:
            ours["headers"] = await self._entrance.admit(scope)
        except Fault as fault:
            await self._refuse(ours, receive, send, fault)
            return
        self._address.root_path = root_path
        await inner(ours, receive, _referring(send, root_path) if root_path else send)  # type: ignore[arg-type] # as Door

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, fault: Fault) -> None:
        record = record_of(scope, time.monotonic())
        self._name_request(record)
        log.warning("caller.refused", reason=fault.reason, peer=record.peer, request_id=record.id)
        if record.is_upgrade:
            await receive()  # the server's `websocket.connect`
            send = as_handshake(scope, send)
        await Client(record, send).refuse(fault)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Speak the lifespan protocol of a server."""
        await receive()
        began = False
        try:
            async with self.lifespan():
                began = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except BaseException as error:
            what = "lifespan.shutdown.failed" if began else "lifespan.startup.failed"
            await send({"type": what, "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.shutdown.complete"})


def _below(scope: Scope, root_path: str) -> Scope:
    """Make the scope as if we were alone. Both paths come of the one the client sent, so that they cannot differ."""
    root = quote(root_path).encode()
    raw: bytes = scope["raw_path"].partition(b"?")[0]
    rest = raw.removeprefix(root) if raw == root or raw.startswith(root + b"/") else raw
    rest = rest or b"/"
    extensions = {name: value for name, value in scope.get("extensions", {}).items() if name.startswith("websocket.")}
    return {
        **{name: scope[name] for name in _KNOWN if name in scope},
        "headers": scope["headers"],
        "path": unquote(rest.decode("latin-1")),
        "raw_path": rest,
        "root_path": "",
        "extensions": extensions,
        "state": {"mounted_at": root.decode()},
    }


def _referring(send: Send, root_path: str) -> Send:
    """Have answers refer to where we are seen from outside."""
    root = quote(root_path).encode()

    async def sending(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            headers = [_outside(root, name, value) for name, value in message.get("headers", ())]
            message = {**message, "headers": headers}
        await send(message)

    return sending


def _outside(root: bytes, name: bytes, value: bytes) -> tuple[bytes, bytes]:
    is_ours = name.lower() in _REFERENCES and value.startswith(b"/") and not value.startswith(b"//")
    return name, root + value if is_ours else value
