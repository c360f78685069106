"""`portico doctor`: everything the gateway needs, looked at one by one, each with its mend."""

import asyncio
import os
import shutil
import socket
import sys
from urllib.parse import urlsplit

from app.settings import ConfigurationInvalid, Settings, find_config
from app.surfaces.cli.failures import MENDABLE, lines_of
from app.surfaces.cli.model import default_model
from app.surfaces.cli.root import Root
from app.surfaces.cli.serve import preflight

NO_MODEL = "none: set DEFAULT_MODEL, e.g. anthropic:MODEL with ANTHROPIC_API_KEY"


def run(root: Root) -> int:
    print(f"python       {sys.version.split()[0]}")
    try:
        settings = root.load_settings()
    except ConfigurationInvalid as invalid:
        for problem in invalid.problems:
            print(f"config       WRONG: {problem}")
        return 2
    print(f"config       {find_config()}: {len(settings.gateway.routes)} routes, nothing wrong")
    print(f"model        {default_model(settings) or NO_MODEL}")
    _upstreams(settings)
    _mcp_servers(settings)
    return _database(settings)


def _upstreams(settings: Settings) -> None:
    """A service that is away stops nobody else's, so it is told but does not count."""
    for name, row in settings.gateway.upstreams.items():
        for url in row.urls:
            print(f"upstream     {name}: {url}{_reached(url, row.connect_timeout_s)}")


def _mcp_servers(settings: Settings) -> None:
    """The same holds for these; what they need of variables was read with the settings."""
    for name, row in settings.gateway.mcp_servers.items():
        if row.disabled:
            print(f"mcp          {name}: disabled")
        elif row.url is not None:
            print(f"mcp          {name}: {row.url}{_reached(row.url, row.connect_timeout_s)}")
        elif "$" in (command := row.command or ""):
            print(f"mcp          {name}: {command}")
        else:
            found = shutil.which(command, path={**os.environ, **row.env}.get("PATH"))
            print(f"mcp          {name}: {command}{' is there' if found else ' WRONG: there is no such program'}")


def _reached(url: str, timeout_s: float) -> str:
    address = urlsplit(url)
    if address.hostname is None:
        return ""
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=timeout_s).close()
    except OSError as error:
        return f" WRONG: {error.strerror or error}; start it, or mend its url"
    return " accepts connections"


def _database(settings: Settings) -> int:
    try:
        asyncio.run(preflight(settings))
    except MENDABLE as error:
        code, lines = lines_of(error)
        print(f"database     WRONG: {'; '.join(lines)}")
        return code
    print(f"database     answers ({'POSTGRES_DSN' if settings.postgres_dsn else 'embedded'})")
    return 0
