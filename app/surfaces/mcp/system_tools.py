"""The system: how it is, how it is set up without its secrets, and why it is not set up from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NewType

from msgspec import Meta, Struct

from app.agents.installing import Installed, InstallTemplates, template_names
from app.infra.observability.health import HealthRegistry, Wellness
from app.kernel.errors import Forbidden
from app.kernel.identity import Access
from app.kernel.values import Json
from app.surfaces.mcp.tool import Asking, McpTool, Nothing

ShownSettings = NewType("ShownSettings", Mapping[str, Json])
"""Every setting with its value, or only with whether it is set where the value could be a secret."""


class EnvironmentIn(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    value: Annotated[str, Meta(max_length=10_000)]


class TemplatesIn(Struct, frozen=True, forbid_unknown_fields=True):
    names: Annotated[Sequence[str], Meta(max_length=50)] = ()


class DependencyOut(Struct, frozen=True):
    """`details` is null for whoever is not STAFF."""

    type: str
    name: str
    status: str
    details: str | None = None


class StatusOut(Struct, frozen=True):
    status: str
    deps: Sequence[DependencyOut]


class EnvironmentIsTheOperators(Forbidden):
    type = "environment-is-the-operators"
    title = "The environment is not set from here"


@dataclass(frozen=True, slots=True)
class SystemTools:
    health: HealthRegistry
    settings: ShownSettings
    install: InstallTemplates

    def tools(self) -> Sequence[McpTool]:
        return (
            McpTool(
                "system_status",
                "Tell how everything is that this gateway depends on.",
                Nothing,
                self._status,
                reads_only=True,
            ),
            McpTool(
                "system_config",
                "Tell how this gateway is set up; of what may be a secret only whether it is set.",
                Nothing,
                self._config,
                access=Access.ADMIN,
                reads_only=True,
            ),
            McpTool(
                "install_agent_templates",
                f"Put agents that are shipped as examples ({', '.join(template_names())}) into AGENTS_DIR, all for no "
                "names. What is there is not changed; they are found at the next start.",
                TemplatesIn,
                self._install,
                access=Access.ADMIN,
            ),
            McpTool(
                "set_environment",
                "Not done from here: tells where a setting is changed.",
                EnvironmentIn,
                self._set_environment,
                access=Access.ADMIN,
                reads_only=True,
            ),
        )

    async def _status(self, asking: Asking, _: Nothing) -> StatusOut:
        deps = [
            DependencyOut(
                one.type,
                one.name,
                "ok" if one.status is Wellness.OK else "error",
                one.details if asking.who.is_staff else None,
            )
            for one in self.health.all
        ]
        return StatusOut("ok" if self.health.is_ready else "error", deps)

    async def _config(self, asking: Asking, _: Nothing) -> Mapping[str, Json]:
        del asking
        return self.settings

    async def _install(self, asking: Asking, given: TemplatesIn) -> Installed:
        return await self.install(asking.who, given.names)

    async def _set_environment(self, asking: Asking, given: EnvironmentIn) -> None:
        del asking
        name = given.name.upper()
        where = f"{name} in .env or the environment, or [settings] in gateway.toml" if self._knows(name) else name
        raise EnvironmentIsTheOperators(
            f"Settings are read once, checked as a whole, and the same in every process: have the operator set "
            f"{where}, and start Portico again. Rows of gateway.toml are taken up as soon as the file is saved."
        )

    def _knows(self, name: str) -> bool:
        return name.lower() in self.settings
