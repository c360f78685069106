"""The assistant inside another Litestar app: handlers that hand everything on, so that neither sees the other's.

Facts
- Litestar's own mounts take more than they are given: one at `/assistant` is also asked for `/assistants/7`
  (`mount_paths_regex` of its routing trie), which is a route of the host's. A path with `{rest:path}` is not.
- What a handler returns may be an ASGI app, and is then called as one.
"""

from collections.abc import Sequence
from typing import Any

from litestar import Request, WebSocket, route, websocket
from litestar.config.app import AppConfig
from litestar.enums import HttpMethod
from litestar.plugins import InitPlugin
from litestar.types import ASGIApp, Receive, Scope, Send

from app.surfaces.embedding.mount import EmbeddedApp

DEFAULT_PATH = "/assistant"
_METHODS = [*HttpMethod]


class MountPlugin(InitPlugin):
    """Add the assistant at `path`, and its lifespan to the app's own.

    The host's middleware and guards stand before it, as before any route of its own; its exception handlers,
    dependencies and description do not reach it.
    """

    def __init__(self, assistant: EmbeddedApp, *, path: str = DEFAULT_PATH) -> None:
        """Errors: ValueError."""
        if not path.startswith("/") or path.endswith("/") or "{" in path:
            raise ValueError(f"{path!r} is not a path to be mounted at, such as {DEFAULT_PATH}")
        self.assistant = assistant
        self._path = self._root = path

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        self._root = app_config.path.rstrip("/") + self._path
        app_config.route_handlers += self._handlers([self._path, f"{self._path}/{{rest:path}}"])
        app_config.lifespan.append(self.assistant.lifespan)
        return app_config

    def _handlers(self, paths: list[str]) -> Sequence[Any]:  # Any: handlers of either kind
        @route(paths, http_method=_METHODS, include_in_schema=False, status_code=200)
        async def portico(request: Request[Any, Any, Any]) -> ASGIApp:
            del request
            return self._serve

        @websocket(paths)
        async def portico_socket(socket: WebSocket[Any, Any, Any]) -> None:
            await self._serve(socket.scope, socket.receive, socket.send)

        return portico, portico_socket

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        root_path = scope.get("root_path", "").rstrip("/") + self._root
        await self.assistant.serve(scope, receive, send, root_path=root_path)  # type: ignore[arg-type] # as in Door
