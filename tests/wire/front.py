"""A real gateway before a scripted upstream: what the client sees, the upstream got, was logged, and is left behind."""

import asyncio
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import uvicorn
import uvloop
from dishka import Provider, Scope, decorate, provide
from litestar import Litestar

from app.edge.edge import Edge
from app.edge.live_runs import RunSource
from app.edge.upstream_pool import PoolCounts
from app.edge.upstreams import RetryBudget
from app.infra.observability.health import HealthRegistry
from app.main import create_app
from tests.builders import some_settings
from tests.fakes.access_log import HeardAccessLog
from tests.gateway import ThreadedServer
from tests.wire.caller import Answered, Caller, calling
from tests.wire.hostile import HostileUpstream, Script, eventually, hostile
from tests.wire.runs import LIVE

START_TIMEOUT_S = 60
IDLE_S = 0.3
EVENT_IDLE_S = 1.5
REQUEST_TASKS = (
    "RequestResponseCycle.", "RequestBody.", "_send_body", "WebSocketsSansIOProtocol.", "Splice.", "LocalExchange.",
    "EdgeProtocol.",
)  # fmt: skip

type LogLine = MutableMapping[str, Any]  # structlog's own untyped kind
type Server = tuple[Callable[[], asyncio.AbstractEventLoop], Literal["portico", "httptools", "h11"]]

SERVERS: dict[str, Server] = {
    "portico": (uvloop.new_event_loop, "portico"),  # as `portico serve` does
    "uvloop-httptools": (uvloop.new_event_loop, "httptools"),
    "asyncio-httptools": (asyncio.new_event_loop, "httptools"),
    "asyncio-h11": (asyncio.new_event_loop, "h11"),
}
# both mounts on every run; that another loop and another parser under the ASGI mount change nothing, in the soaks
both_mounts = pytest.mark.parametrize(
    "front_gateway",
    [pytest.param(name, marks=pytest.mark.soak if name.startswith("asyncio") else ()) for name in SERVERS],
    indirect=True,
)


class Inside(Provider):
    """Shows the gateway's edge to the tests."""

    scope = Scope.APP

    def __init__(self) -> None:
        super().__init__()
        self.edge: Edge | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    @decorate
    async def shown(self, edge: Edge, health: HealthRegistry) -> Edge:
        # a check in the background would be a visit that no test has asked for
        health.dependencies = [one for one in health.dependencies if one.type != "http"]
        self.edge, self.loop = edge, asyncio.get_running_loop()
        return edge


class Runs(Provider):
    """Has the edge hear of the tests' own runs."""

    scope = Scope.APP

    @provide
    def source(self) -> RunSource:
        return LIVE


@dataclass(slots=True)
class Front:
    """One running gateway; its upstreams all listen, or not, on `upstream_port`, `pair` on `second_port` as well."""

    port: int
    upstream_port: int
    second_port: int
    edge: Edge
    loop: asyncio.AbstractEventLoop
    lines: list[LogLine] = field(default_factory=list)

    def upstream(self, script: Script) -> AbstractAsyncContextManager[HostileUpstream]:
        return hostile(script, port=self.upstream_port)

    def second(self, script: Script) -> AbstractAsyncContextManager[HostileUpstream]:
        return hostile(script, port=self.second_port)

    def calling(self) -> AbstractAsyncContextManager[Caller]:
        return calling(self.port)

    async def ask(self, request: bytes) -> Answered:
        """Send one request on a connection of its own and read the answer."""
        async with self.calling() as caller:
            await caller.send(request)
            return await caller.answer(request.partition(b" ")[0])

    @property
    def answered(self) -> list[LogLine]:
        return [line for line in self.lines if line["event"] == "request.answered"]

    async def line(self) -> LogLine:
        """Wait for the one line that the one request of this test left."""
        await eventually(lambda: bool(self.answered))
        (line,) = self.answered
        return line

    async def forget(self) -> None:
        """Wait until what was asked is over, and forget its lines."""
        await self.is_at_rest()
        await self.line()
        self.lines.clear()

    def counts(self, upstream: str = "main") -> PoolCounts:
        return self.edge.upstreams[upstream].endpoints[0].pool.counts

    @contextmanager
    def patience(self, **options: float) -> Iterator[None]:
        """Set deadlines of the edge for one test, such that it can wait for them."""
        before = self.edge.options
        self.edge.options = dataclasses.replace(before, **options)  # type: ignore[arg-type] # only numbers are given
        yield
        self.edge.options = before

    @contextmanager
    def unconnectable(self) -> Iterator[None]:
        """Let the upstream's port take connections no further than a full queue, which accepts nobody."""
        with socket.socket() as deaf, ExitStack() as queue:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            deaf.bind(("127.0.0.1", self.upstream_port))
            deaf.listen(0)
            for _ in range(3):
                filler = queue.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.upstream_port))
            yield

    def begin(self) -> None:
        """Forget what an earlier test left."""
        for upstream in self.edge.upstreams.values():
            upstream.budget = RetryBudget()
            upstream.event_idle_timeout_s = EVENT_IDLE_S
            if upstream.name == "impatient":  # what no row can say
                upstream.deadlines = dataclasses.replace(upstream.deadlines, write_timeout_s=IDLE_S)

    async def is_at_rest(self) -> None:
        """Wait until no slot is taken, nobody stands in line, and no task of a request is left."""
        await eventually(
            lambda: all(
                one.pool.counts.in_use == one.pool.counts.waiting == 0
                for upstream in self.edge.upstreams.values()
                for one in upstream.endpoints
            )
        )
        await eventually(lambda: not self.tasks())

    def tasks(self) -> list[str]:
        """Name what runs on behalf of requests."""
        names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks(self.loop)]
        return [name for name in names if name.startswith(REQUEST_TASKS)]


def _rows(port: int, second_port: int) -> tuple[dict[str, object], tuple[dict[str, object], ...]]:
    url = f"http://127.0.0.1:{port}"
    # these tests break one thing after the other at one endpoint, whose breaker has tests of its own
    there: dict[str, object] = {"url": url, "breaker_failures": 0}
    quick = {"response_timeout_s": IDLE_S, "idle_timeout_s": IDLE_S, "connect_timeout_s": IDLE_S}
    upstreams: dict[str, object] = {
        "main": there,
        "impatient": {**there, **quick},
        "crowded": {**there, "max_connections": 1},
        "unretried": {**there, "retries": 0},
        "pair": {"urls": [url, f"http://127.0.0.1:{second_port}"], "response_timeout_s": 1},
    }
    routes: list[dict[str, object]] = [
        {"prefix": f"/{name}", "upstream": name, "access": "PUBLIC"} for name in upstreams
    ]
    routes += [
        {"prefix": "/small", "upstream": "main", "access": "PUBLIC", "max_body_bytes": 1000},
        {"prefix": "/limited", "upstream": "main", "access": "PUBLIC", "rate_limit": "1000000/day"},
        {"prefix": "/quick", "upstream": "main", "access": "PUBLIC", "timeout_s": IDLE_S},
        {"prefix": "/mine", "upstream": "main", "access": "COMMON"},
        {"prefix": "/staff", "upstream": "main", "access": "STAFF"},
        {"path": "/staff/open", "upstream": "main", "access": "PUBLIC"},
        {"prefix": "/admin", "upstream": "main", "access": "ADMIN"},
        {"prefix": "/closed", "upstream": "main", "access": "PRIVATE"},
        {"prefix": "/reads", "upstream": "main", "methods": ["GET"], "access": "PUBLIC"},
        {"prefix": "/slashes", "upstream": "main", "access": "PUBLIC", "encoded_slashes": True},
        {"prefix": "/stripped", "upstream": "main", "access": "PUBLIC", "strip": "/stripped"},
        {"prefix": "/trusted", "upstream": "main", "access": "COMMON", "forward_token": True},
        {"path": "/local", "methods": ["GET", "POST"], "local": True, "access": "PUBLIC"},
    ]
    return upstreams, tuple(routes)


@contextmanager
def running_front(server: Server, folder: Path, dsn: str) -> Iterator[Front]:
    """Serve the whole gateway before a port on which a test may put an upstream."""
    # bound and never listening: the port stays ours, and refuses while no test has an upstream there
    with reserved_port() as reserved, reserved_port() as second:
        upstream_port, second_port = reserved.getsockname()[1], second.getsockname()[1]
        upstreams, routes = _rows(upstream_port, second_port)
        settings = some_settings(
            folder,
            dsn=dsn,
            upstreams=upstreams,
            routes=routes,
            log_level=20,
            front_door_url="http://127.0.0.1:1",
            cors_origins=("https://page.test",),
            trusted_proxies=(),  # to whom everybody on this machine would belong
        )
        inside = Inside()
        with serving(create_app(settings, HeardAccessLog(), inside, Runs()), server) as port:
            assert inside.edge is not None
            assert inside.loop is not None
            yield Front(port, upstream_port, second_port, inside.edge, inside.loop)


@contextmanager
def serving(app: Litestar, server: Server, *, lifespan: Literal["on", "off"] = "on") -> Iterator[int]:
    """Serve in a thread of its own; yield the port."""
    loop_factory, http = server
    with socket.create_server(("127.0.0.1", 0)) as bound:
        config = uvicorn.Config(
            app,
            http="auto" if http == "portico" else http,
            lifespan=lifespan,
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        made = ThreadedServer(config, app.state["door"]) if http == "portico" else uvicorn.Server(config)
        with running_server(made, bound, loop_factory):
            yield bound.getsockname()[1]


@contextmanager
def running_server(
    server: uvicorn.Server, bound: socket.socket, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> Iterator[None]:
    def serve() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(server.serve(sockets=[bound]))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    end = time.monotonic() + START_TIMEOUT_S
    try:
        while not server.started:
            assert thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < end, "the gateway did not start in time"
            time.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the gateway did not stop"


@contextmanager
def reserved_port() -> Iterator[socket.socket]:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved
