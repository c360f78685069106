"""What an embedded assistant is set to: the environment and `.env`, a folder of its own, and Portico's own doors.

The file `gateway.toml` is not read: nothing stands behind this door. The rows are the local ones of the shipped table.
The database is the folder's own unless one is named in code, whatever `POSTGRES_DSN` says: who works on a database's
queue works on everybody's runs in it, and the gateway that the variable is meant for has other agents.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.kernel.folders import default_data_dir
from app.mcp_rows import McpServerRow, read_mcp_json
from app.settings import (
    ConfigProblem,
    ConfigurationInvalid,
    GatewayFile,
    Settings,
    load_dotenv,
    read_settings,
    shipped_config,
)

NO_KEYS = "http://embedded.invalid/jwks.json"
"""where the settings ask for a source of keys and there is none: nobody shows tokens of anybody else"""
DEFAULT_LOG_LEVEL = 30

type McpServers = Mapping[str, Mapping[str, Any]]  # Any: as an `mcp.json` has them


def default_state_dir(name: str) -> Path:
    return default_data_dir() / "embedded" / name


def embedded_settings(
    state_dir: Path,
    *,
    model: str = "",
    postgres_dsn: str = "",
    mcp_servers: McpServers | None = None,
    cors_origins: Sequence[str] = (),
) -> Settings:
    """Read what the environment says, with the defaults of a program that is part of another.

    Errors: ConfigurationInvalid.
    """
    load_dotenv()
    lines = ["[settings]", f"log_level = {DEFAULT_LOG_LEVEL}", f"cors_origins = {json.dumps(list(cors_origins))}"]
    if not any(os.environ.get(name) for name in ("JWT_PUBLIC_KEY", "JWT_JWKS_URL")):
        lines.append(f"jwt_jwks_url = {json.dumps(NO_KEYS)}")
    settings = read_settings(state_dir / "embedded.toml", content="\n".join(lines).encode())
    servers = {**settings.gateway.mcp_servers, **_servers(mcp_servers or {})}
    rows = GatewayFile.model_validate({"routes": _own_doors()}).model_copy(update={"mcp_servers": servers})
    own = {"data_dir": state_dir.absolute(), "postgres_dsn": postgres_dsn, "front_door_url": ""}
    given = {**own, "gateway": rows, "table_source": None, **({"default_model": model} if model else {})}
    return settings.model_copy(update=given)


def _own_doors() -> list[dict[str, Any]]:  # Any: TOML that is validated next
    table = tomllib.loads(shipped_config().read_text("utf-8"))
    return [row for row in table["routes"] if row.get("local")]


def _servers(written: McpServers) -> Mapping[str, McpServerRow]:
    content = json.dumps({"mcpServers": {name: dict(row) for name, row in written.items()}})
    rows, flaws = read_mcp_json(content.encode(), known=os.environ, allowed=os.environ.keys())
    if flaws:
        raise ConfigurationInvalid(
            ConfigProblem("mcp_servers", one.key.removeprefix("mcpServers."), one.message, one.mend) for one in flaws
        )
    return rows
