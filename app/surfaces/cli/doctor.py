"""`portico doctor`: everything the gateway needs, looked at one by one, each with its mend."""

import asyncio
import sys

from app.agents.llm.local_model_host import find_gguf, is_installed
from app.settings import ConfigurationInvalid, Settings, find_config, load_dotenv, read_settings
from app.surfaces.cli.failures import MENDABLE, lines_of
from app.surfaces.cli.root import Root
from app.surfaces.cli.serve import preflight


def run(root: Root) -> int:
    load_dotenv()
    print(f"python       {sys.version.split()[0]}")
    try:
        settings = read_settings(find_config())
        root.check_configuration(settings)
    except ConfigurationInvalid as invalid:
        for problem in invalid.problems:
            print(f"config       WRONG: {problem}")
        return 2
    print(f"config       {find_config()}: {len(settings.gateway.routes)} routes, nothing wrong")
    print(f"model        {_model(settings)}")
    return _database(settings)


def _model(settings: Settings) -> str:
    if settings.default_model:
        return settings.default_model
    if is_installed() and (settings.local_model_gguf or find_gguf()):
        return "local (the default)"
    return "none: set DEFAULT_MODEL, e.g. anthropic:MODEL with ANTHROPIC_API_KEY"


def _database(settings: Settings) -> int:
    try:
        asyncio.run(preflight(settings))
    except MENDABLE as error:
        code, lines = lines_of(error)
        print(f"database     WRONG: {'; '.join(lines)}")
        return code
    print(f"database     answers ({'POSTGRES_DSN' if settings.postgres_dsn else 'embedded'})")
    return 0
