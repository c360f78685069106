"""Portico as a part of another Python program: the same use cases and endpoints as the gateway's, in your process.

    app = create_agent("You are a concise assistant.")              # an ASGI app: uvicorn mine:app
    app = Litestar(plugins=[PorticoPlugin(settings)])               # inside another Litestar app
    app = FastAPI(lifespan=assistant.lifespan)                      # inside FastAPI or Starlette
    app.mount("/assistant", assistant)

Who calls is decided by the first of these that there is: `authenticate`, which is the host's word; the tokens that
JWT_PUBLIC_KEY or JWT_JWKS_URL can check; the one user of this machine, and nobody from elsewhere.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dishka import Provider, Scope
from litestar import Litestar

from app.agents.contract import Agent, AgentBroken, Offer, Responder
from app.agents.factory import AgentFactory
from app.agents.rules import Rule
from app.agents.tools.front_door import FrontDoorAddress
from app.infra.observability.logs import configure_logs_of_a_guest
from app.kernel.worker import WorkerPlace
from app.main import check_settings, create_app
from app.settings import ConfigProblem, ConfigurationInvalid, Settings
from app.surfaces.embedding.entrance import Authenticate, Entrance, HostEntrance, LocalEntrance
from app.surfaces.embedding.mount import EmbeddedApp
from app.surfaces.embedding.plugin import DEFAULT_PATH, MountPlugin
from app.surfaces.embedding.settings import NO_KEYS, McpServers, default_state_dir, embedded_settings
from app.surfaces.embedding.tokens import Caller, OwnTokens
from app.surfaces.headless.state import taken_place

__all__ = (
    "Agent",
    "Authenticate",
    "Caller",
    "EmbeddedApp",
    "PorticoPlugin",
    "create_agent",
    "embedded_settings",
    "portico_app",
)

_OWN_COOKIE = "portico_embedded"
"""not the gateway's: a cookie of the host may have that name"""


def create_agent(
    instructions: str,
    *,
    name: str = "assistant",
    description: str = "",
    tools: Sequence[Offer] = (),
    mcp_servers: McpServers | None = None,
    approvals: Sequence[Rule] = (),
    model: str = "",
    state_dir: Path | None = None,
    postgres_dsn: str = "",
    cors_origins: Sequence[str] = (),
    authenticate: Authenticate | None = None,
) -> EmbeddedApp:
    """Make an ASGI app of one agent: chats, exchanges, runs and their events, approvals, tasks.

    `mcp_servers` are written as in an `mcp.json`. Everything is kept in `state_dir`, one folder for one program, or in
    the database of `postgres_dsn`. Without `model` it is `DEFAULT_MODEL`. Errors: ConfigurationInvalid.
    """
    settings = embedded_settings(
        state_dir or default_state_dir(name),
        model=model,
        postgres_dsn=postgres_dsn,
        mcp_servers=mcp_servers,
        cors_origins=cors_origins,
    )
    agent = Agent(
        name=name,
        description=description or name,
        instructions=instructions,
        tools=tuple(tools),
        mcp_servers=tuple(mcp_servers or ()),
        approvals=tuple(approvals),
    )
    return portico_app(settings, agents=(agent,), authenticate=authenticate)


def portico_app(
    settings: Settings,
    *overrides: Provider,
    agents: Sequence[Agent | Responder] = (),
    authenticate: Authenticate | None = None,
) -> EmbeddedApp:
    """Make an ASGI app of the assistant half, to be served or mounted.

    `settings` are `embedded_settings(...)`, or a gateway's. Without `agents` they are those that are installed.
    Errors: ConfigurationInvalid.
    """
    entrance, settings = _entrance(settings, authenticate)
    check_settings(settings)
    own = [_desk_of(agents), *([] if settings.postgres_dsn else [_place_in(settings.data_dir)])]
    return EmbeddedApp(partial(_built, settings, (*own, *overrides)), entrance)


class PorticoPlugin(MountPlugin):
    """The assistant half inside another Litestar app, below `path`. Arguments are those of `portico_app`."""

    def __init__(
        self,
        settings: Settings,
        *overrides: Provider,
        path: str = DEFAULT_PATH,
        agents: Sequence[Agent | Responder] = (),
        authenticate: Authenticate | None = None,
    ) -> None:
        """Errors: ConfigurationInvalid, ValueError."""
        super().__init__(portico_app(settings, *overrides, agents=agents, authenticate=authenticate), path=path)


def _entrance(settings: Settings, authenticate: Authenticate | None) -> tuple[Entrance, Settings]:
    if authenticate is None and settings.jwt_jwks_url != NO_KEYS:
        return Entrance(), settings
    tokens, origins = OwnTokens(), frozenset(settings.cors_origins)
    ours = {
        "jwt_public_key": tokens.public_pem,
        "jwt_jwks_url": "",
        "jwt_issuer": "",
        "jwt_audience": "",
        "jwt_role_claim": "role",
        "jwt_cookie_name": _OWN_COOKIE,
    }
    entrance = LocalEntrance(tokens, origins) if authenticate is None else HostEntrance(authenticate, tokens, origins)
    return entrance, settings.model_copy(update=ours)


def _desk_of(agents: Sequence[Agent | Responder]) -> Provider:
    """Errors: ConfigurationInvalid."""
    own = Provider(scope=Scope.APP)
    if agents:
        try:
            factory = AgentFactory.of(*agents, where="agents")
        except AgentBroken as broken:
            raise ConfigurationInvalid([ConfigProblem("agents", type(broken).__name__, str(broken))]) from None
        own.provide(lambda: factory, provides=AgentFactory)
    return own


def _place_in(folder: Path) -> Provider:
    """Have several processes on one folder know each other's places, and take over at once what one has left."""

    def place() -> Iterator[WorkerPlace]:
        with ExitStack() as stack:
            yield stack.enter_context(taken_place(folder))

    own = Provider(scope=Scope.APP)
    own.provide(place, provides=WorkerPlace)
    return own


def _built(settings: Settings, overrides: Sequence[Provider], address: FrontDoorAddress) -> Litestar:
    own = Provider(scope=Scope.APP)
    own.provide(lambda: address, provides=FrontDoorAddress)
    return create_app(settings, own, *overrides, set_up_logs=configure_logs_of_a_guest)
