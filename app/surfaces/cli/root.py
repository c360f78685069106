"""What the command line asks of the composition root, which it is handed: nothing below `main` may import it."""

from pathlib import Path
from typing import Protocol

from dishka import Provider
from litestar import Litestar

from app.settings import Settings


class Root(Protocol):
    def create_app(self, settings: Settings, *overrides: Provider) -> Litestar:
        """Build the gateway; nothing is opened before its lifespan begins."""
        ...

    def load_settings(self, config: Path | None = None) -> Settings:
        """Read `.env`, the environment and the table. Errors: ConfigurationInvalid with everything wrong."""
        ...
