"""The composition root: with `wiring.py` the only place that knows every slice.

Tests replace parts by passing a provider after ours.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from dishka import AsyncContainer, Provider, Scope, make_async_container
from dishka.integrations.litestar import setup_dishka
from litestar import Litestar

from app.agents.provider import agent_flaws, row_flaws, skill_flaws, title_flaws
from app.edge.asgi import Door
from app.edge.edge import Edge
from app.edge.provider import key_flaws, table_flaws
from app.edge.reload import ReloadAsked
from app.infra.durable.ports import Worker
from app.infra.observability.background import Background
from app.infra.observability.logs import SetUpLogs, configure_logs
from app.kernel.worker import ProcessRole, WorkerPlace
from app.settings import ConfigProblem, ConfigurationInvalid, Settings, find_config, load_dotenv, read_settings
from app.surfaces.api.assembly import assemble
from app.surfaces.headless.desk import HeadlessDesk
from app.wiring import parts_of, providers_of

log = structlog.get_logger()


def load_settings(config: Path | None = None) -> Settings:
    """Read `.env`, the environment and the table, and check all of it, before anything is opened or bound.

    Errors: ConfigurationInvalid with everything wrong.
    """
    load_dotenv()
    try:
        settings = read_settings(find_config(config), check_rows=table_flaws)
    except ConfigurationInvalid as invalid:
        # settings that are wrong cannot tell their values, but the environment can
        others = _value_flaws(os.environ.get("JWT_PUBLIC_KEY", ""), os.environ.get("DEFAULT_MODEL", ""), gguf=None)
        raise ConfigurationInvalid([*invalid.problems, *others]) from None
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Errors: ConfigurationInvalid."""
    gguf, folder, rows = settings.local_model_gguf, settings.agents_dir, settings.gateway
    values = _value_flaws(settings.jwt_public_key, settings.default_model, gguf=gguf, folder=folder)
    skills, titles = skill_flaws(settings.skills_dir, gguf=gguf, agents=folder), title_flaws(settings.title_model, gguf)
    if flaws := [*table_flaws(rows), *values, *skills, *row_flaws(rows, folder=folder), *titles]:
        raise ConfigurationInvalid(flaws)


def _value_flaws(pem: str, model: str, *, gguf: Path | None, folder: Path | None = None) -> list[ConfigProblem]:
    return [*key_flaws(pem.replace("\\n", "\n")), *agent_flaws(model, gguf, folder=folder)]


def create_app(
    settings: Settings,
    *overrides: Provider,
    role: ProcessRole = ProcessRole.ALL,
    set_up_logs: SetUpLogs = configure_logs,
) -> Litestar:
    """Build the gateway, which its lifespan opens; it works on runs too, but as `WEB`. Errors: ConfigurationInvalid."""
    check_settings(settings)
    set_up_logs(level=settings.log_level, as_json=settings.logs_are_json)
    container = _container(settings, role, overrides)
    door = Door()
    app = assemble(
        partial(_running, container, role, door), are_docs_served=settings.docs_are_served, is_debug=settings.debug
    )
    setup_dishka(container, app)
    # Litestar's ASGI types name the shape of each message; ours pass any
    door.inner, app.asgi_handler = app.asgi_handler, door  # type: ignore[assignment]
    app.state["door"] = door
    return app


@asynccontextmanager
async def create_worker(settings: Settings, *overrides: Provider) -> AsyncIterator[None]:
    """Work on runs for as long as the block lasts, and hand back at its end what is not over.

    Errors: ConfigurationInvalid.
    """
    check_settings(settings)
    configure_logs(level=settings.log_level, as_json=settings.logs_are_json)
    container = _container(settings, ProcessRole.WORKER, overrides)
    try:
        background = await _opened(container, ProcessRole.WORKER)
        async with background.running():
            log.info("worker.started")
            yield
    finally:
        await container.close()
        log.info("worker.stopped")


@asynccontextmanager
async def create_headless(settings: Settings, place: WorkerPlace, *overrides: Provider) -> AsyncIterator[HeadlessDesk]:
    """Work on runs for as long as the block lasts, and give the desk at which this program asks for them.

    Errors: ConfigurationInvalid.
    """
    own = Provider(scope=Scope.APP)
    own.provide(lambda: place, provides=WorkerPlace)
    check_settings(settings)
    configure_logs(level=settings.log_level, as_json=settings.logs_are_json)
    container = _container(settings, ProcessRole.HEADLESS, (own, *overrides))
    try:
        background = await _opened(container, ProcessRole.HEADLESS)
        desk = await container.get(HeadlessDesk)
        async with background.running():
            yield desk
    finally:
        await container.close()


def _container(settings: Settings, role: ProcessRole, overrides: tuple[Provider, ...]) -> AsyncContainer:
    return make_async_container(*providers_of(role), *overrides, context={Settings: settings})


async def _opened(container: AsyncContainer, role: ProcessRole) -> Background:
    """Open every part in order; give what runs their background work, and ours if runs are worked on here."""
    for part in parts_of(role):
        await container.get(part)
    background = await container.get(Background)
    if role is not ProcessRole.WEB:
        background.add("runs", (await container.get(Worker)).work)
    return background


@asynccontextmanager
async def _running(container: AsyncContainer, role: ProcessRole, door: Door, app: Litestar) -> AsyncIterator[None]:
    """Open everything, then the door, serve, and close it all in the other order."""
    try:
        background = await _opened(container, role)
        door.edge = await container.get(Edge)
        app.state["reload_table"] = (await container.get(ReloadAsked)).set
        async with background.running():
            log.info("gateway.started")
            yield
    finally:
        door.edge = None
        await container.close()
        log.info("gateway.stopped")
