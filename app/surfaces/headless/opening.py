"""How a program opens a state folder: its settings, its place among those that use it, and the desk over both."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from dishka import Provider

from app.kernel.folders import default_data_dir
from app.kernel.worker import WorkerPlace
from app.settings import Settings
from app.surfaces.headless.desk import HeadlessDesk
from app.surfaces.headless.settings import headless_settings
from app.surfaces.headless.state import taken_place


class CreateHeadless(Protocol):
    """What the composition root brings: everything that works on runs, without a door."""

    def __call__(
        self, settings: Settings, place: WorkerPlace, *overrides: Provider
    ) -> AbstractAsyncContextManager[HeadlessDesk]: ...


def default_state_dir() -> Path:
    return default_data_dir() / "headless"


@asynccontextmanager
async def opened(
    create: CreateHeadless, state_dir: Path | None, *overrides: Provider, model: str = ""
) -> AsyncIterator[HeadlessDesk]:
    """Work on the folder's runs for as long as the block lasts.

    Errors: ConfigurationInvalid, StateBusy, EmbeddedPostgresUnavailable; OSError, where the folder cannot be used.
    """
    folder = (state_dir or default_state_dir()).absolute()
    settings = headless_settings(folder, model=model)
    with taken_place(folder) as place:
        async with create(settings, place, *overrides) as desk:
            yield desk
