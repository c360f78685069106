"""Everything an operator can set, read once, checked as a whole, frozen.

Order: the environment (`.env` is loaded into it first and never overrides it), then the lower-case key under
`[settings]` in `gateway.toml`, then the default. Upstreams and routes are plain rows here; `edge/routes.py` compiles
them.
Rule: only the composition root, the providers, the migrations and the command line may import this module.
"""

import ipaddress
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from app.kernel.folders import default_data_dir
from app.kernel.toml_elements import Document, KnownElements, read_elements
from app.kernel.variables import expand_variables
from app.mcp_rows import McpServerRow, RowFlaw, ServerName, read_mcp_json, variable_flaws
from app.setting_types import Dsn, FeatureSettings, Keys, Names, Networks, Origins, Pem, WidgetRow
from app.tool_rows import ToolRuleRow, unset

CONFIG_VARIABLE = "GATEWAY_CONFIG"
FROM_THE_FILE = frozenset({"gateway", "table_source"})


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong with the configuration: where it stands, which key, what is wrong and how to mend it."""

    where: str
    key: str
    message: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" + (f"; {self.mend}" if self.mend else "")


class ConfigurationInvalid(Exception):
    """The configuration cannot be used; `problems` lists everything wrong with it at once."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UpstreamRow(Row):
    """Either `url` or `urls` is written; once read, `url` is the first of `urls`."""

    url: str
    urls: tuple[str, ...] = Field(default=(), min_length=1)
    health: str | None = None
    openapi: str | None = None
    connect_timeout_s: float = Field(default=2, gt=0, le=60)
    response_timeout_s: float = Field(default=30, gt=0, le=3600)
    idle_timeout_s: float = Field(default=60, gt=0, le=3600)
    max_connections: int = Field(default=256, ge=1, le=65535)
    retries: int = Field(default=1, ge=0, le=1)
    breaker_failures: int = Field(default=5, ge=0, le=10_000)
    breaker_window_s: float = Field(default=10, gt=0, le=3600)
    ca: Path | None = None
    server_name: str | None = None
    verify: bool = True

    @model_validator(mode="before")
    @classmethod
    def _one_way_to_write(cls, row: Any) -> Any:  # Any: what stands in the file is not validated yet
        if not isinstance(row, dict):
            return row
        if "url" in row and "urls" in row:
            raise PydanticCustomError("both", "has url and urls; keep one of them")
        # what is of the wrong type is told once, under the key that was written
        if isinstance(row.get("url"), str):
            return {**row, "urls": (row["url"],)}
        if "urls" in row:
            first = row["urls"][0] if isinstance(row["urls"], list | tuple) and row["urls"] else ""
            return {**row, "url": first if isinstance(first, str) else ""}
        return row


class RewriteRow(Row):
    match: str
    to: str
    methods: tuple[str, ...] = ()


class RouteRow(Row):
    path: str | None = None
    prefix: str | None = None
    methods: tuple[str, ...] = ()
    upstream: str | None = None
    local: bool = False
    access: Literal["PUBLIC", "COMMON", "STAFF", "ADMIN", "PRIVATE"] = "COMMON"
    strip: str | None = None
    rewrite: tuple[RewriteRow, ...] = ()
    timeout_s: float | None = Field(default=None, gt=0, le=3600)
    max_body_bytes: int | None = Field(default=None, ge=0)
    encoded_slashes: bool = False
    forward_token: bool = False
    forward_cookies: tuple[str, ...] = ()
    rate_limit: str | None = None
    burst: int | None = None
    websocket: bool = False
    errors: Literal["problem", "openai"] = "problem"


class Groups(Row):
    ADMIN: tuple[str, ...] | None = None
    STAFF: tuple[str, ...] | None = None
    COMMON: tuple[str, ...] | None = None
    PRIVATE: tuple[str, ...] | None = None


class GatewayFile(Row):
    """`gateway.toml` without its `[settings]`, after `${VAR}` was read."""

    upstreams: Mapping[str, UpstreamRow] = Field(default_factory=dict)
    routes: tuple[RouteRow, ...] = ()
    groups: Groups = Groups()
    mcp_servers: Mapping[ServerName, McpServerRow] = Field(default_factory=dict)
    tool_rules: tuple[ToolRuleRow, ...] = ()
    widgets: tuple[WidgetRow, ...] = ()


@dataclass(frozen=True, slots=True)
class TableSource:
    """The file the rows came from, and what it held then: what is there later is compared with it."""

    file: Path
    content: bytes


class Settings(BaseSettings, FeatureSettings):
    """The frozen tree. Each field but those of `FROM_THE_FILE` is an environment variable of the same name in capitals.

    Without `table_source` the rows were handed in, and do not change.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    mode: Literal["DEV", "STAGE", "PROD", "TEST"] = "DEV"
    debug: bool = False
    postgres_dsn: Dsn = ""
    postgres_schema: str = Field(default="portico", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    database_pool_size: int = Field(default=10, ge=1, le=1000)
    database_max_pool_overflow: int = Field(default=10, ge=0, le=1000)
    database_pool_timeout: float = Field(default=30, gt=0)
    database_pool_recycle: int = Field(default=300, ge=1)
    data_dir: Path = Field(default_factory=default_data_dir)
    secrets_key: Keys = Field(default="", repr=False)
    jwt_public_key: Pem = ""
    jwt_jwks_url: str = Field(default="", pattern=r"^(https?://[^\s/]+\S*)?$", validate_default=True)
    jwt_algorithm: Literal["RS256"] = "RS256"
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_cookie_name: str = Field(default="pg_access_token", pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
    jwt_refresh_cookie_name: str = Field(default="pg_refresh_token", pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
    jwt_role_claim: str = Field(default="role", min_length=1)
    jwt_leeway_s: float = Field(default=10, ge=0, le=300)
    jwt_max_life_s: int = Field(default=30 * 24 * 3600, ge=60, le=10 * 366 * 24 * 3600)
    auth_service_url: str = ""
    agenda_service_url: str = ""
    snapshot_service_url: str = ""
    log_level: int = Field(default=20, ge=0, le=50)
    log_json: bool | None = None
    access_log_sample: float = Field(default=1, ge=0, le=1)
    metrics_networks: Networks = ()
    otel_exporter_otlp_endpoint: str = Field(default="", pattern=r"^(https?://[^\s/]+\S*)?$")
    otel_exporter_otlp_headers: str = Field(default="", repr=False)
    otel_service_name: str = Field(default="portico", min_length=1)
    default_model: str = ""
    local_model_gguf: Path | None = None
    front_door_url: str = ""
    mcp_config: Path | None = None
    mcp_variables: Names = ()
    worker_slots: int = Field(default=32, ge=1, le=1000)
    docs: bool | None = None
    trusted_proxies: Networks = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
    cors_origins: Origins = ()
    gateway: GatewayFile = GatewayFile()
    table_source: TableSource | None = Field(default=None, exclude=True, repr=False)

    @field_validator("jwt_jwks_url")
    @classmethod
    def _one_key_source(cls, url: str, others: ValidationInfo) -> str:
        # of the field, not of the model: pydantic asks a model's own rules only once every field is right
        if bool(others.data.get("jwt_public_key")) == bool(url):
            msg = "set either JWT_PUBLIC_KEY (a PEM) or JWT_JWKS_URL (the auth service's JWKS document)"
            raise ValueError(msg)
        return url

    @property
    def is_prod(self) -> bool:
        return self.mode == "PROD"

    @property
    def docs_are_served(self) -> bool:
        return not self.is_prod if self.docs is None else self.docs

    @property
    def logs_are_json(self) -> bool:
        return self.is_prod if self.log_json is None else self.log_json

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over what `read_settings` passes in from the file; the rows come from there alone."""
        del env_settings, dotenv_settings, file_secret_settings
        environment = EnvSettingsSource(settings_cls)
        environment.env_vars = {
            name: value for name, value in environment.env_vars.items() if name not in FROM_THE_FILE
        }
        return environment, init_settings


def find_config(explicit: Path | None = None) -> Path:
    """Find the route table: what was asked for, `gateway.toml` here, or the one that is shipped."""
    named = explicit or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        return named
    if (here := Path("gateway.toml")).exists():
        return here
    return shipped_config()


def shipped_config() -> Path:
    beside = Path(__file__).with_name("gateway.toml")
    return beside if beside.exists() else Path(__file__).parent.parent / "gateway.toml"


def load_dotenv(file: Path = Path(".env")) -> None:
    """Put what `.env` sets, and the environment does not, into the environment (model SDKs read their keys there)."""
    for name, value in dotenv_values(file).items():
        if value is not None:
            os.environ.setdefault(name, value)


type CheckRows = Callable[[GatewayFile], Iterable[ConfigProblem]]
"""What the edge finds wrong with rows that are well-formed; handed in, since this module knows nothing above it."""


def read_settings(
    config: Path,
    *,
    content: bytes | None = None,
    check_rows: CheckRows | None = None,
    known: KnownElements | None = None,
) -> Settings:
    """Read and check everything; the file is not read again where its content is given.

    Rows that are `known` are taken as they are; what was read is known from then on.

    Errors: ConfigurationInvalid with all that is wrong in the environment, the settings and the rows.
    """
    problems: list[ConfigProblem] = []
    known = known or KnownElements()
    content = _read_file(config, problems) if content is None else content
    read = _read_toml(content, config, problems, known.by_text)
    document = read.content
    settings_table = document.pop("settings", {})
    names = set(Settings.model_fields) - FROM_THE_FILE
    if not isinstance(settings_table, dict):
        problems.append(ConfigProblem(str(config), "settings", "must be a table", "write [settings]"))
        settings_table = {}
    problems += [
        ConfigProblem(str(config), f"settings.{key}", "is not a setting", "remove it or mend its name")
        for key in sorted(set(settings_table) - names)
    ]
    given = {key: value for key, value in settings_table.items() if key in names}
    rows = _read_rows(document, given, str(config), problems)
    problems += [replace(one, where=str(config)) for one in (check_rows(rows) if check_rows else ())]
    try:
        settings = Settings(**given, gateway=rows, table_source=TableSource(config.absolute(), content))
    except ValidationError as error:
        problems += [_setting_problem(item, given, str(config)) for item in error.errors()]
        raise ConfigurationInvalid(problems) from None
    servers = _mcp_servers(settings, str(config), problems)
    problems += [ConfigProblem(str(config), *flaw) for flaw in unset(rows.tool_rules, os.environ)]
    if problems:
        raise ConfigurationInvalid(problems)
    if servers:
        settings = settings.model_copy(update={"gateway": rows.model_copy(update={"mcp_servers": servers})})
    known.remember(rows.routes, read.texts)
    return settings


# Any below: what tomllib and pydantic give is untyped until it is validated.
def _read_file(config: Path, problems: list[ConfigProblem]) -> bytes:
    try:
        return config.read_bytes()
    except OSError as error:
        mend = f"name the file with --config or {CONFIG_VARIABLE}"
        problems.append(ConfigProblem(str(config), "file", f"cannot be read ({error.strerror})", mend))
    return b""


def _read_toml(content: bytes, config: Path, problems: list[ConfigProblem], known: Mapping[str, RouteRow]) -> Document:
    try:
        return read_elements(content.decode(), "routes", known)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(ConfigProblem(str(config), "file", f"is not valid TOML: {error}"))
    return Document({})


def _read_rows(
    document: dict[str, Any], settings: Mapping[str, object], where: str, problems: list[ConfigProblem]
) -> GatewayFile:
    upstreams: Any = document.get("upstreams")
    if not isinstance(upstreams, dict):
        upstreams = {}
    for name, row in list(upstreams.items()):
        if isinstance(row, dict):
            missing = expand_variables(row, settings)
            if missing and name in _upstreams_of(document.get("routes")):
                words = ", ".join(sorted(missing))
                mend = f"set {words} in the environment or .env"
                problems.append(ConfigProblem(where, f"upstreams.{name}", f"{words} is not set", mend))
                row.pop("urls", None)
                row["url"] = "http://not-set.invalid"  # never opened; its routes are not to be blamed as well
            elif missing:
                del upstreams[name]
    try:
        return GatewayFile.model_validate(document)
    except ValidationError as error:
        problems += [_row_problem(item, where) for item in error.errors()]
        return GatewayFile()


def _mcp_servers(settings: Settings, where: str, problems: list[ConfigProblem]) -> Mapping[str, McpServerRow]:
    """Join the servers of the table with those of `mcp.json`; tell everything wrong with either."""
    servers = settings.gateway.mcp_servers
    for name, row in servers.items():
        flaws = variable_flaws(f"mcp_servers.{name}", row, known=os.environ)
        problems += _of_rows(where, flaws)
    if settings.mcp_config is None:
        return servers
    file = str(settings.mcp_config)
    try:
        content = settings.mcp_config.read_bytes()
    except OSError as error:
        problems.append(ConfigProblem(file, "file", f"cannot be read ({error.strerror})", "mend MCP_CONFIG"))
        return servers
    found, flaws = read_mcp_json(content, known=os.environ, allowed=settings.mcp_variables)
    twice = sorted(set(found) & set(servers))
    flaws += [RowFlaw(f"mcpServers.{name}", f"stands in {where}, too", "rename one of them") for name in twice]
    problems += _of_rows(file, flaws)
    return {**servers, **found}


def _of_rows(where: str, flaws: Iterable[RowFlaw]) -> Iterable[ConfigProblem]:
    return [ConfigProblem(where, flaw.key, flaw.message, flaw.mend) for flaw in flaws]


def _upstreams_of(routes: object) -> list[object]:
    rows = [one for one in routes if isinstance(one, RouteRow | dict)] if isinstance(routes, list) else []
    return [row.upstream if isinstance(row, RouteRow) else row.get("upstream") for row in rows]


def _row_problem(item: ErrorDetails, where: str) -> ConfigProblem:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return ConfigProblem(where, key, "is not a known key", "remove it or mend its name")
    return ConfigProblem(where, key, item["msg"])


def _setting_problem(item: ErrorDetails, given: Mapping[str, object], file: str) -> ConfigProblem:
    name = str(item["loc"][0])
    from_file = name in given and not os.environ.get(name.upper())
    where, key = (file, f"settings.{name}") if from_file else ("environment", name.upper())
    return ConfigProblem(where, key, item["msg"].removeprefix("Value error, "), "see .env.example")
