"""The assistant inside another Litestar app: one ASGI mount, so that neither sees the other's container or handlers."""

from litestar import asgi
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin
from litestar.types import Receive, Scope, Send

from app.surfaces.embedding.mount import EmbeddedApp

DEFAULT_PATH = "/assistant"


class MountPlugin(InitPlugin):
    """Add a mount at `path`, and the assistant's lifespan to the app's own.

    The host's middleware and guards stand before it, as before any route of its own; its exception handlers,
    dependencies and description do not reach it.
    """

    def __init__(self, assistant: EmbeddedApp, *, path: str = DEFAULT_PATH) -> None:
        """Errors: ValueError."""
        if not path.startswith("/") or path.endswith("/") or "{" in path:
            raise ValueError(f"{path!r} is not a path to be mounted at, such as {DEFAULT_PATH}")
        self.assistant = assistant
        self._path = path

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        @asgi(self._path, is_mount=True, copy_scope=True)
        async def portico(scope: Scope, receive: Receive, send: Send) -> None:
            root_path = scope.get("root_path", "").rstrip("/") + self._path
            await self.assistant.serve(scope, receive, send, root_path=root_path)  # type: ignore[arg-type] # as in Door

        app_config.route_handlers.append(portico)
        app_config.lifespan.append(self.assistant.lifespan)
        return app_config
