"""A real gateway on a real socket, inside the test process, so that a test can reach into it and count its lines."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import override

import httpx
import uvicorn
from dishka import Provider

from app.edge.asgi import Door
from app.kernel.draining import Draining
from app.main import create_app
from app.settings import Settings
from app.surfaces.cli.gateway_server import GatewayServer, Manners
from app.surfaces.cli.listener import bind_tcp
from tests.fakes.access_log import HeardAccessLog

START_TIMEOUT_S = 60


class ThreadedServer(GatewayServer):
    """The server of `portico serve` in a thread, which hears no signals: `should_exit` ends it."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config, door, Draining(), Manners(where="a test", reload=_nothing))

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _nothing() -> None:
    pass


def running_gateway(settings: Settings, *overrides: Provider) -> AbstractContextManager[str]:
    """Serve `create_app` by the protocol mount, as `portico serve` does; yield the URL once it is ready."""
    return _running(settings, overrides, ThreadedServer)


def running_asgi_gateway(settings: Settings, *overrides: Provider) -> AbstractContextManager[str]:
    """Do the same by the ASGI mount."""
    return _running(settings, overrides, lambda config, _: uvicorn.Server(config))


@contextmanager
def _running(
    settings: Settings, overrides: Sequence[Provider], server_of: Callable[[uvicorn.Config, Door], uvicorn.Server]
) -> Iterator[str]:
    """Serve in a thread of its own."""
    with bind_tcp("127.0.0.1", 0) as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        app = create_app(settings.model_copy(update={"front_door_url": url}), HeardAccessLog(), *overrides)
        config = uvicorn.Config(
            app,
            http="httptools",  # which only the ASGI mount uses
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="websockets-sansio",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        server = server_of(config, app.state["door"])
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True)
        thread.start()
        try:
            _wait_until_ready(url, thread)
            yield url
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the gateway did not stop"


def _wait_until_ready(url: str, thread: threading.Thread) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and thread.is_alive():
        try:
            if httpx.get(f"{url}/api/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError("the gateway did not become ready")
