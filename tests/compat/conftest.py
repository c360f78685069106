"""One demo for all rows of the ledger, a second gateway for production, and callers of any role."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.surfaces.cli.token import sign
from tests.e2e.program import PORTICO, ROOT, Program, a_demo, a_home, free_port, running
from tests.e2e.upstream import RawUpstream, raw_upstream

LISTED_ORIGIN = "https://app.example.com"

# A package as somebody else would publish one: it imports nothing of ours, and nothing of ours names it.
VISITORS = """
import asyncio
from pathlib import Path


class Shout:
    name = "shout"
    description = "Says it louder."

    async def generate(self, turn):
        return turn.text.upper()


class Patient:
    name = "patient"
    description = "Answers once the file exists that it was told of."

    async def generate(self, turn):
        async with asyncio.timeout(30):
            while not Path(turn.text).exists():
                await asyncio.sleep(0.02)
        return "it is there"
"""

ROWS = """
[upstreams.recorder]
url = "{url}"

[[routes]]
prefix = "/api/v1/recorder"
upstream = "recorder"
access = "COMMON"
strip = "/recorder"

[[routes]]
prefix = "/api/v1/nobody"
upstream = "recorder"
access = "PRIVATE"
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where the demo's services listen, as its gateway knows them."""

    auth: str
    agenda: str
    analytics: str

    def settings(self, data_dir: Path) -> dict[str, str]:
        return {
            "DATA_DIR": str(data_dir),
            "AUTH_SERVICE_URL": self.auth,
            "AGENDA_SERVICE_URL": self.agenda,
            "SNAPSHOT_SERVICE_URL": self.analytics,
            "JWT_JWKS_URL": f"{self.auth}/.well-known/jwks.json",
            "JWT_ISSUER": "portico-demo-auth",
            "JWT_AUDIENCE": "portico",
            "DEFAULT_MODEL": "scripted",
        }


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


@pytest.fixture(scope="session")
def data_dir(home: Path) -> Path:
    return home / "data"


@pytest.fixture(scope="session")
def visitors(home: Path) -> Path:
    """A folder for PYTHONPATH with an installed package that brings two agents by entry points."""
    folder = home / "site"
    info = folder / "visiting_agents-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "visiting_agents.py").write_text(VISITORS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: visiting-agents\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[portico.agents]\nvisitors = visiting_agents\n")
    return folder


@pytest.fixture(scope="session")
def demo(data_dir: Path, visitors: Path) -> Iterator[Program]:
    environment = {"DEFAULT_MODEL": "scripted", "LOG_LEVEL": "20", "LOG_JSON": "true", "CORS_ORIGINS": LISTED_ORIGIN}
    with a_demo(data_dir, PYTHONPATH=str(visitors), **environment) as demo:
        yield demo


@pytest.fixture(scope="session")
def fleet(demo: Program, data_dir: Path) -> Fleet:
    """Ask the health endpoint, which tells staff where every upstream is."""
    found: dict[str, str] = {}

    def look() -> bool:
        headers = {"authorization": f"Bearer {sign('1', 'manager', ttl_s=300, data_dir=data_dir)}"}
        health = httpx.get(f"{demo.url}/api/health/service_health", headers=headers, timeout=30).json()
        for one in health["deps"]:
            address = re.match(r"[\d.]+:\d+", one["details"] or "")
            if one["type"] == "http" and address:
                found[one["name"]] = f"http://{address[0]}"
        return len(found) == 3

    demo.awaits(look)
    return Fleet(**found)


@pytest.fixture(scope="session")
def recorder() -> Iterator[RawUpstream]:
    with raw_upstream() as recorder:
        yield recorder


@pytest.fixture(scope="session")
def production(home: Path, data_dir: Path, fleet: Fleet, recorder: RawUpstream, visitors: Path) -> Iterator[Program]:
    """A second gateway on the same database, in production, whose table has two rows more."""
    table = home / "more.toml"
    table.write_text((ROOT / "gateway.toml").read_text("utf-8") + ROWS.format(url=recorder.url))
    port = free_port()
    command = (PORTICO, "serve", "--host", "127.0.0.1", "--port", str(port), "--config", str(table))
    settings = fleet.settings(data_dir) | {"MODE": "PROD", "PYTHONPATH": str(visitors)}
    with running(home / "production", *command, url=f"http://127.0.0.1:{port}", **settings) as gateway:
        gateway.awaits(gateway.is_ready)
        yield gateway


type Caller = Callable[..., httpx.Client]


@pytest.fixture
def visitor(demo: Program) -> Iterator[httpx.Client]:
    """Somebody without a token."""
    with httpx.Client(base_url=demo.url, timeout=60) as client:
        yield client


@pytest.fixture
def caller(demo: Program, data_dir: Path) -> Iterator[Caller]:
    """Make clients with a token of the demo's key: of a user nobody has seen before, unless `sub` names one."""
    with ExitStack() as open_clients:

        def make(role: str = "user", *, sub: str = "", url: str = demo.url) -> httpx.Client:
            token = sign(sub or uuid.uuid4().hex, role, ttl_s=900, data_dir=data_dir)
            headers = {"authorization": f"Bearer {token}"}
            return open_clients.enter_context(httpx.Client(base_url=url, headers=headers, timeout=60))

        yield make
