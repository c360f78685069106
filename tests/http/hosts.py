"""Programs that have the assistant inside: FastAPI and Litestar, each with a life of its own."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import uvicorn
from fastapi import Depends, FastAPI
from fastapi import Request as FastRequest
from fastapi.responses import JSONResponse
from litestar import Litestar, Request, Response, get
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide

from app.agents.contract import Responder, Turn
from app.embedding import Caller, PorticoPlugin, portico_app
from app.settings import Settings
from app.surfaces.cli.listener import bind_tcp

START_TIMEOUT_S = 60
MOUNTED_AT = "/assistant"

type App = Any  # an ASGI app of whichever maker
type MakeHost = Callable[[Settings], App]


class Echo:
    name = "echo"
    description = "Says it back."

    async def generate(self, turn: Turn) -> str:
        return turn.text


AGENTS: tuple[Responder, ...] = (Echo(),)


async def who(scope: Any) -> Caller | None:  # Any: an ASGI scope
    """Take the name in `x-person`, and the role behind it."""
    name, _, role = ASGIConnection[Any, Any, Any, Any](scope).headers.get("x-person", "").partition("/")
    return Caller(name, (role or "user",)) if name else None


def as_person(name: str, role: str = "user") -> dict[str, str]:
    return {"x-person": f"{name}/{role}"}


def inside_fastapi(settings: Settings) -> App:
    assistant = portico_app(settings, agents=AGENTS, authenticate=who)
    app = FastAPI(lifespan=assistant.lifespan)
    app.mount(MOUNTED_AT, assistant)

    def greeting() -> str:
        return "hello"

    @app.get("/own")
    async def own(greeting: Annotated[str, Depends(greeting)]) -> dict[str, str]:
        return {"said": greeting}

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("of the host")

    @app.exception_handler(ValueError)
    async def teapot(request: FastRequest, error: ValueError) -> JSONResponse:
        return JSONResponse({"of": "host"}, status_code=418)

    return app


def inside_litestar(settings: Settings) -> App:
    @get("/own")
    async def own(greeting: NamedDependency[str]) -> dict[str, str]:
        return {"said": greeting}

    @get("/broken")
    async def broken() -> None:
        raise ValueError("of the host")

    async def greeting() -> str:
        return "hello"

    def teapot(request: Request[Any, Any, Any], error: Exception) -> Response[Mapping[str, str]]:
        return Response({"of": "host"}, status_code=418)

    return Litestar(
        [own, broken],
        dependencies={"greeting": Provide(greeting)},
        exception_handlers={Exception: teapot},
        plugins=[PorticoPlugin(settings, agents=AGENTS, authenticate=who)],
        logging_config=None,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where an assistant is: the address of its host, and the path below."""

    host: str
    root: str

    @property
    def url(self) -> str:
        return self.host + self.root


@contextmanager
def served(app: App) -> Iterator[Place]:
    """Serve it with uvicorn in a thread of its own, as `uvicorn mine:app` would."""
    with bind_tcp("127.0.0.1", 0) as bound:
        place = Place(f"http://127.0.0.1:{bound.getsockname()[1]}", MOUNTED_AT)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, ws="websockets-sansio", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True)
        thread.start()
        try:
            _wait(place, thread)
            yield place
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the host did not stop"


def _wait(place: Place, thread: threading.Thread) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and thread.is_alive():
        try:
            if httpx.get(f"{place.url}/api/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError("the assistant did not become ready")
