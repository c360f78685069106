"""The front door alone: the real edge and its protocol mount before an application of the test's, without a product."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
import uvloop

from app.edge.asgi import Door
from app.edge.asgi_client import ASGIApp, Receive, Scope, Send
from app.edge.claims import TokenRules
from app.edge.edge import Edge
from app.edge.keys import PemKeys
from app.edge.live_runs import LiveRuns
from app.edge.pipeline import EdgeOptions
from app.edge.routes import RouteRegistry
from app.edge.run_tokens import RunTokenVerifier
from app.edge.table import Table
from app.edge.tokens import TokenVerifier
from app.edge.upstreams import open_upstreams
from app.kernel.clock import SystemClock
from app.kernel.revocation import Mark, Revocation
from app.settings import GatewayFile
from tests.builders import ROLES, a_token, public_pem
from tests.gateway import ThreadedServer
from tests.wire.caller import get
from tests.wire.front import Front, reserved_port, running_server
from tests.wire.runs import LIVE

type Row = dict[str, object]

GRACE_S = 5
LEEWAY_S = 10
TUNNEL_ROWS: tuple[Row, ...] = (
    {"prefix": "/ws", "upstream": "main", "access": "PUBLIC", "websocket": True},
    {"prefix": "/mine", "upstream": "main", "access": "COMMON", "websocket": True},
    {"prefix": "/staff", "upstream": "main", "access": "STAFF", "websocket": True},
    {"prefix": "/limited", "upstream": "main", "access": "PUBLIC", "websocket": True, "rate_limit": "2/hour"},
    {"prefix": "/plain", "upstream": "main", "access": "PUBLIC"},
    {"prefix": "/impatient", "upstream": "impatient", "access": "PUBLIC", "websocket": True},
    {"prefix": "/local", "local": True, "access": "PUBLIC"},
    {"prefix": "/known", "local": True, "access": "COMMON"},
    {"prefix": "/managed", "local": True, "access": "STAFF"},
)
TOKEN = b"Authorization: Bearer " + a_token().encode()
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: 1wtp5xEKX5dJGQVdJUEHqBIDTXk=\r\n\r\n"
)


def handshake(path: bytes, *fields: bytes) -> bytes:
    return get(
        path,
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *fields,
    )


def dying_token(left_s: float) -> str:
    """A token that is valid for so long, leeway included: whole seconds are all that `exp` is told in here."""
    now_s = SystemClock().now().timestamp()
    return a_token(exp=now_s - LEEWAY_S + left_s, iat=now_s - 60)


def withdraw(front: Front, **names: str) -> None:
    """Refuse the tokens of a `sub` or a `jti` from now on."""
    now = datetime.now(UTC)
    number = time.monotonic_ns()
    made = [
        Revocation(
            id=number,
            number=number,
            mark=Mark(mark),
            name=name,
            before=now + timedelta(seconds=2),
            expires_at=now + timedelta(hours=1),
            created_by="1",
            created_at=now,
            updated_at=now,
        )
        for mark, name in names.items()
    ]
    front.loop.call_soon_threadsafe(front.edge.tokens.revocations.apply, made)


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    raise AssertionError(f"nobody may come here: {scope['type']}")


@dataclass(slots=True)
class Doorway:
    """The application that uvicorn runs: its lifespan opens the edge, everything else goes through it."""

    inner: ASGIApp
    rows: GatewayFile
    options: EdgeOptions
    door: Door = field(default_factory=Door)
    loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.door(scope, receive, send)
            return
        await receive()
        self.loop = asyncio.get_running_loop()
        upstreams = open_upstreams(self.rows.upstreams)
        live = self._open(Table(RouteRegistry.compile(self.rows.routes, self.rows.upstreams), upstreams))
        async with asyncio.TaskGroup() as background:
            attending = background.create_task(live.attend())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            attending.cancel()
        for upstream in upstreams.values():
            await upstream.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def _open(self, table: Table) -> LiveRuns:
        keys, clock = PemKeys.read(public_pem()), SystemClock()
        live = LiveRuns(LIVE, clock)
        runs = RunTokenVerifier(live)
        tokens = TokenVerifier(TokenRules(roles=ROLES, leeway_s=LEEWAY_S), keys.current, clock, runs=runs)
        self.door.inner = self.inner
        self.door.edge = Edge(table, keys, tokens, clock, self.options)
        return live


@contextmanager
def running_doorway(
    app: ASGIApp = nobody,
    *,
    rows: Sequence[Row] = TUNNEL_ROWS,
    options: EdgeOptions | None = None,
    grace_s: int = GRACE_S,
    max_connections: int = 256,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[Front]:
    """Serve in a thread of its own, on uvloop, as `portico serve` does; what runs when it is left gets `grace_s`."""
    with reserved_port() as upstream_port, reserved_port() as second_port:
        port, second = upstream_port.getsockname()[1], second_port.getsockname()[1]
        main: Row = {"url": f"http://127.0.0.1:{port}", "breaker_failures": 0, "max_connections": max_connections}
        upstreams = {"main": main, "impatient": {**main, "response_timeout_s": 0.3}}
        file = GatewayFile.model_validate({"upstreams": upstreams, "routes": list(rows)})
        doorway = Doorway(app, file, options or EdgeOptions())
        config = uvicorn.Config(
            doorway,
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=grace_s,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )
        with reserved_port() as bound:
            bound.listen()
            with running_server(ThreadedServer(config, doorway.door), bound, uvloop.new_event_loop):
                assert doorway.door.edge is not None
                assert doorway.loop is not None
                yield Front(bound.getsockname()[1], port, second, doorway.door.edge, doorway.loop)
