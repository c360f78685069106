"""What the command line asks of the composition root, which it is handed: nothing below `main` may import it."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from dishka import Provider
from litestar import Litestar

from app.kernel.worker import ProcessRole, WorkerPlace
from app.settings import Settings
from app.surfaces.headless.desk import HeadlessDesk


class Root(Protocol):
    def create_app(self, settings: Settings, *overrides: Provider, role: ProcessRole) -> Litestar:
        """Build the gateway; nothing is opened before its lifespan begins."""
        ...

    def create_worker(self, settings: Settings, *overrides: Provider) -> AbstractAsyncContextManager[None]:
        """Build what works on runs, for as long as the block lasts."""
        ...

    def create_headless(
        self, settings: Settings, place: WorkerPlace, *overrides: Provider
    ) -> AbstractAsyncContextManager[HeadlessDesk]:
        """Build what works on runs, and a desk to ask it at, for as long as the block lasts."""
        ...

    def load_settings(self, config: Path | None = None) -> Settings:
        """Read `.env`, the environment and the table. Errors: ConfigurationInvalid with everything wrong."""
        ...
