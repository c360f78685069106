"""A real gateway on a real socket, inside the test process, so that a test can reach into it and count its lines."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import httpx
import uvicorn
from dishka import Provider
from litestar import Litestar

from app.edge.protocol import EdgeProtocol
from app.main import create_app
from app.settings import Settings
from app.surfaces.cli.listener import bind_tcp
from tests.fakes.access_log import HeardAccessLog

START_TIMEOUT_S = 60


def running_gateway(settings: Settings, *overrides: Provider) -> AbstractContextManager[str]:
    """Serve `create_app` by the protocol mount, as `portico serve` does; yield the URL once it is ready."""
    return _running(settings, overrides, lambda app: partial(EdgeProtocol, app.state["door"]))


def running_asgi_gateway(settings: Settings, *overrides: Provider) -> AbstractContextManager[str]:
    """Do the same by the ASGI mount."""
    return _running(settings, overrides, lambda _: "httptools")


@contextmanager
def _running(
    settings: Settings, overrides: Sequence[Provider], protocol_of: Callable[[Litestar], object]
) -> Iterator[str]:
    """Serve in a thread of its own."""
    with bind_tcp("127.0.0.1", 0) as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        app = create_app(settings.model_copy(update={"front_door_url": url}), HeardAccessLog(), *overrides)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol_of(app),  # type: ignore[arg-type]  # as `portico serve` does
                log_config=None,
                access_log=False,
                lifespan="on",
                ws="websockets-sansio",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=5,
            )
        )
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
