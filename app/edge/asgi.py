"""The chain as an ASGI middleware around Litestar, proxying included: for any ASGI server and any test client.

Every request leaves one line in the log, whatever became of it. Rule: nothing but `Client` answers a client, so that
every answer carries the request id and the CORS fields.
"""

from collections.abc import Awaitable
from dataclasses import dataclass

import structlog

from app.edge.asgi_client import ASGIApp, Client, ClientGone, Receive, Scope, Send, limited
from app.edge.asgi_handshake import SWITCHING, as_handshake, noting_handshake
from app.edge.asgi_proxy import forward
from app.edge.edge import Edge
from app.edge.faults import InternalFault, UpgradeNotOffered
from app.edge.record import Record
from app.kernel.errors import Fault

log = structlog.get_logger()


@dataclass(slots=True)
class Door:
    """What stands in Litestar's place: shut until the lifespan has opened the edge, and after it was closed.

    A server that runs no lifespan would otherwise reach Litestar with no edge before it (promise P12).
    """

    inner: ASGIApp | None = None
    edge: Edge | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.edge is None or self.inner is None:
            raise RuntimeError("the front door is shut: run the application's lifespan")
        self.edge.on_request(scope.get("server"), scope.get("scheme", "http").replace("ws", "http"))
        await EdgeMiddleware(self.inner, self.edge)(scope, receive, send)


@dataclass(frozen=True, slots=True)
class EdgeMiddleware:
    """Everything a server hands over goes through here, but the lifespan, which is Litestar's own."""

    app: ASGIApp
    edge: Edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        decided = _decided_on(scope)
        record = decided or record_of(scope, self.edge.clock.monotonic_s())
        client = Client(record, send, self.edge.release)
        if decided is None:
            await self._finished(client, self._answer(scope, record, receive, client))
        else:
            _introduce(scope, record)
            await self._finished(client, self.app(scope, receive, client.send))

    async def _finished(self, client: Client, answering: Awaitable[None]) -> None:
        record = client.record
        try:
            await answering
        except Fault as fault:
            await client.refuse(fault)
        except ClientGone:
            record.reason = "client_gone"
        except Exception:
            # the edge's last step: whatever went wrong, the client gets an answer and the log the trace
            log.exception("request.failed", request_id=record.id, path=record.path.decode("latin-1"))
            await client.refuse(InternalFault("The error was logged under this request id."))
        finally:
            self.edge.finish(record)

    async def _answer(self, scope: Scope, record: Record, receive: Receive, client: Client) -> None:
        answer = await self.edge.decide(record)
        if answer is not None:
            await client.answer(answer)
        elif record.route is None or record.upstream is None:
            _introduce(scope, record)
            await self.app(scope, limited(record, receive), client.send)
        else:
            version = scope.get("http_version", "1.1")
            await forward(self.edge, record, record.route, record.upstream, receive, client, http_version=version)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a handshake like any request; only local rows take one here, since tunnels are the protocol's."""
        decided = _decided_on(scope)
        record = decided or record_of(scope, self.edge.clock.monotonic_s())
        try:
            if decided is None:
                await self.edge.decide(record)
            if record.route is None or record.upstream is not None:
                raise UpgradeNotOffered("This route takes no WebSocket.")
            _introduce(scope, record)
            await self.app(scope, receive, noting_handshake(self.edge, record, send))
        except Fault as fault:
            await receive()  # the server's `websocket.connect`
            await Client(record, as_handshake(scope, send)).refuse(fault)
        finally:
            if record.status == SWITCHING:
                self.edge.gauges.tunnels_open -= 1
            self.edge.finish(record)


def _decided_on(scope: Scope) -> Record | None:
    """Find what the protocol mount has decided, which also counts the body; state is the server's, never a client's."""
    record: Record | None = scope.get("state", {}).get("edge_record")
    return record


def _introduce(scope: Scope, record: Record) -> None:
    scope.setdefault("state", {}).update(
        principal=record.principal, request_id=record.id, edge_record=record, access=record.route
    )
    record.reason = "local"


def record_of(scope: Scope, started_s: float) -> Record:
    """Read a request out of an ASGI scope; servers without `raw_path` are refused, since P9 cannot be kept on them."""
    is_upgrade = scope["type"] == "websocket"
    peer = scope.get("client")
    return Record(
        method=b"GET" if is_upgrade else scope["method"].encode(),
        path=scope["raw_path"].partition(b"?")[0],
        query=scope.get("query_string", b""),
        headers=[(bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in scope["headers"]],
        peer=peer[0] if peer else "",
        scheme=scope.get("scheme", "http").replace("ws", "http"),
        started_s=started_s,
        is_upgrade=is_upgrade,
    )
