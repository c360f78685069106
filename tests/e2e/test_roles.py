"""`portico serve --role`: web processes and workers as programs of their own, before one database."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.surfaces.cli.run_worker import NICENESS
from tests.builders import bearer, public_pem
from tests.e2e.program import PORTICO, ROOT, Program, a_home, bare_environment, becomes_true, free_port, running
from tests.http.calls import history, open_chat
from tests.http.streams import begin, read_run

ROUTES = (
    '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
    '[[routes]]\nprefix = "/api/v1"\nlocal = true\naccess = "COMMON"\n'
)
MCP_SERVER = (
    f"[mcp_servers.old]\ncommand = {sys.executable!r}\nargs = [{str(ROOT / 'tests' / 'mcp_old_server.py')!r}]\n"
)
LIBRARIES = ("pydantic_ai", "openai", "anthropic", "groq", "google.genai", "tiktoken", "jiter", "mcp")
PROBE = f"""
import asyncio, json, sys
from app.kernel.worker import ProcessRole
from app.main import create_app, load_settings

async def main(role):
    async with create_app(load_settings(), role=role).lifespan():
        while role is ProcessRole.ALL and "pydantic_ai" not in sys.modules:
            await asyncio.sleep(0.1)
    print(json.dumps([name for name in {LIBRARIES} if name in sys.modules]))

asyncio.run(main(ProcessRole(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with a_home() as home:
        (home / "gateway.toml").write_text(ROUTES + MCP_SERVER)
        yield home


def environment(dsn: str) -> dict[str, str]:
    return {
        "POSTGRES_DSN": dsn,
        "JWT_PUBLIC_KEY": public_pem(),
        "LOG_JSON": "true",
        "DEFAULT_MODEL": "none",
        "FRONT_DOOR_URL": "http://127.0.0.1:1",  # workers alone have to be told, and these call nobody
    }


@contextmanager
def serving(home: Path, dsn: str, role: str) -> Iterator[Program]:
    port = free_port()
    command = (PORTICO, "serve", "--role", role, "--port", str(port), "--drain-delay", "0")
    with running(home, *command, url=f"http://127.0.0.1:{port}", **environment(dsn)) as program:
        if role != "worker":
            program.awaits(program.is_ready)
        if role != "web":
            program.awaits(lambda: bool(program.logged("worker.started")))
        yield program


@pytest.fixture
def web(home: Path, migrated_dsn: str) -> Iterator[Program]:
    with serving(home, migrated_dsn, "web") as web:
        yield web


@pytest.fixture
def client(web: Program) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=web.url, timeout=30) as client:
        yield client


def workers(client: httpx.Client) -> str:
    """What health says of those who work on runs."""
    return health(client, "worker", "runs")


def health(client: httpx.Client, type_: str, name: str) -> str:
    told = client.get("/api/health/service_health", headers=bearer(sub="1", role="staff")).json()["deps"]
    (found,) = [dep for dep in told if (dep["type"], dep["name"]) == (type_, name)]
    return str(found["status"])


def test_without_a_worker_everything_is_accepted_and_health_says_that_nobody_answers(client: httpx.Client) -> None:
    chat_id = open_chat(client, "nobody", agent="echo")["id"]
    body = {"content": "Is anybody there?", "timeout_s": 1}

    answer = client.post(f"/api/v1/messages/{chat_id}/exchange", json=body, headers=bearer(sub="nobody"))

    assert answer.status_code == 202
    assert answer.json()["run"]["status"] == "queued"
    assert client.get("/api/health/ready").status_code == 200
    assert becomes_true(lambda: workers(client) == "error", within_s=40)  # so late are other tests missed
    agents = client.get("/api/v1/agents/", headers=bearer(sub="nobody")).json()["items"]
    assert "portico serve --role worker" in next(one["health"] for one in agents if one["name"] == "echo")


@pytest.mark.soak
def test_web_and_worker_are_two_programs_before_one_database(
    home: Path, migrated_dsn: str, web: Program, client: httpx.Client
) -> None:
    chat_id = open_chat(client, "dora", agent="echo")["id"]
    run = begin(client, "dora", chat_id, "while nobody is there")

    with serving(home, migrated_dsn, "worker") as worker:
        (pid,) = worker.children()
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{worker.url}/api/health/ping")
        assert becomes_true(lambda: read_run(client, "dora", run["id"])["status"] == "completed", within_s=30)
        assert becomes_true(lambda: workers(client) == "ok", within_s=30)
        assert becomes_true(lambda: health(client, "mcp", "old") == "ok", within_s=30)
        assert worker.stop() == 0

    assert [message["content"] for message in history(client, "dora", chat_id)] == ["while nobody is there"] * 2
    assert web.logged("worker.started") == []


@pytest.mark.soak
@pytest.mark.parametrize(("role", "loaded"), [("web", False), ("all", True)])
def test_no_part_of_a_web_process_imports_a_model_library(
    home: Path, migrated_dsn: str, role: str, *, loaded: bool
) -> None:
    command = [sys.executable, "-c", PROBE, role]
    modelled = environment(migrated_dsn) | {"DEFAULT_MODEL": "scripted"}
    variables = bare_environment(home, **modelled, PYTHONPATH=str(ROOT))

    probe = subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True, timeout=90, check=False)

    assert probe.returncode == 0, probe.stderr
    found = json.loads(probe.stdout.splitlines()[-1])
    assert bool(found) is loaded, found
